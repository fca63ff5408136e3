"""The text tower of a multimodal model opens as a causal language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModelForImageTextToText,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
)

from tests.trainer.text.models.test_models import opened
from tests.trainer.text.tiny import VOCABULARY, character_tokenizer
from trainer.spec import NoAdapter, Sampling
from trainer.text.language.models import ModelError
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest
from trainer.text.training.components import model_folder_files

TEXT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "sliding_window": 16,
    "initializer_range": 0.3,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


@pytest.fixture(scope="module")
def multimodal() -> Gemma3ForConditionalGeneration:
    config = Gemma3Config(
        text_config=TEXT,
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=39,
        boi_token_index=37,
        eoi_token_index=38,
    )
    torch.manual_seed(0)
    return Gemma3ForConditionalGeneration(config).eval()


@pytest.mark.parametrize(
    "names",
    [
        ("language_model.model.", "language_model.lm_head."),
        ("model.language_model.", "lm_head."),
    ],
    ids=["older", "newer"],
)
def test_gemma_3_answers_text_as_the_whole_model_does(
    tmp_path: Path, multimodal: Gemma3ForConditionalGeneration, names: tuple[str, str]
) -> None:
    multimodal.save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {}
    for name, weight in weights.items():
        for stored in ("language_model.model.", "model.language_model."):
            name = names[0] + name.removeprefix(stored) if name.startswith(stored) else name
        renamed[name] = weight
    assert any(name.startswith(names[0]) for name in renamed)
    save_file(renamed, tmp_path / "model.safetensors", {"format": "pt"})
    model = opened(tmp_path)
    assert (model.vocabulary, model.max_length, model.eos_ids) == (VOCABULARY, 128, (1,))
    assert not any("vision" in name for name, _ in model.model.named_parameters())
    ids = torch.randint(3, VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            model.model(ids).logits, multimodal(input_ids=ids).logits, rtol=0, atol=0
        )
    requests = [SampleRequest("a", (2, 5, 6), (0, 1))]
    answers = sample(model, requests, Sampling(max_new_tokens=5), Noise(0, 0))
    assert len(answers) == 2

    # A trained tower is saved as a model of its own.
    trained = tmp_path / "trained"
    trained.mkdir()
    for name, content in model_folder_files(model, NoAdapter()).items():
        (trained / name).write_bytes(content)
    parameters = {name: value.detach() for name, value in model.model.named_parameters()}
    save_file(parameters, trained / "model.safetensors", {"format": "pt"})
    again = opened(trained)
    with torch.no_grad():
        assert torch.equal(again.model(ids).logits, model.model(ids).logits)


@pytest.mark.parametrize(
    ("kind", "tower"),
    [
        ("llava", "llama"),
        ("llava", "qwen2"),
        ("mistral3", "mistral"),
        ("internvl", "qwen2"),
        ("idefics3", "llama"),
    ],
)
def test_text_towers_of_other_families_answer_as_the_whole_model_does(
    tmp_path: Path, kind: str, tower: str
) -> None:
    text = {**TEXT, "model_type": tower}
    config_class: Any = CONFIG_MAPPING[kind]
    config = config_class(text_config=text, vision_config=VISION)
    torch.manual_seed(0)
    whole = AutoModelForImageTextToText.from_config(config).eval()
    whole.save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    model = opened(tmp_path)
    ids = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = whole(input_ids=ids).logits
        torch.testing.assert_close(model.model(ids).logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["Qwen2_5_VLForConditionalGeneration", "MllamaForConditionalGeneration"]
)
def test_other_multimodal_models_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    tower = {"model_type": "some_text_tower"}
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": [name], "text_config": tower})
    )
    with pytest.raises(ModelError, match=f"holds a {name}, which is not a causal language model"):
        opened(tmp_path)


def test_a_text_tower_under_other_names_is_said_to_be_missing(
    tmp_path: Path, multimodal: Gemma3ForConditionalGeneration
) -> None:
    multimodal.save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {f"elsewhere.{name}": weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="Gemma3ForConditionalGeneration, whose text tower is not"):
        opened(tmp_path)


def test_a_multimodal_model_without_a_text_tower_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(
        '{"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}'
    )
    with pytest.raises(ModelError, match="not a causal language model"):
        opened(tmp_path)
