"""Opening model folders: what is read, and how each unusable folder is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tests.trainer.text.tiny import EOS, VOCABULARY, save_folder
from trainer.spec.networks import Network
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.text_models import open_text_model


def opened(folder: Path, **options: Any) -> LanguageModel:
    return load(Network(model=f"file:{folder}", **options))


def embedding(model: LanguageModel) -> torch.Tensor:
    return cast(torch.Tensor, model.model.get_input_embeddings().weight)


def configured(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("shape", ["llama", "qwen2", "qwen3"])
def test_a_folder_opens_with_its_facts(tmp_path: Path, shape: str) -> None:
    model = opened(save_folder(tmp_path, shape, vocab_size=64))
    assert (model.vocabulary, model.max_length, model.eos_ids) == (VOCABULARY, 128, (EOS,))
    assert embedding(model).shape[0] == 64
    assert not model.model.training


def test_weights_stored_in_half_precision_are_widened_exactly(tmp_path: Path) -> None:
    first = opened(save_folder(tmp_path))
    half = {name: weight.half() for name, weight in first.model.state_dict().items()}
    first.model.save_pretrained(tmp_path, state_dict=half)
    second = opened(tmp_path).model.state_dict()
    assert all(torch.equal(second[name], weight.float()) for name, weight in half.items())


def test_the_hash_names_the_content_not_the_folder(tmp_path: Path) -> None:
    hashes = [
        opened(save_folder(tmp_path / name, seed=seed)).hash
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_random_weights_follow_the_seed_and_need_no_stored_ones(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    network = Network(model=f"file:{folder}", random_init=True)
    first, same_seed, other_seed = (load(network, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(embedding(first), embedding(same_seed))
    assert not torch.equal(embedding(first), embedding(other_seed))
    assert first.hash == same_seed.hash != other_seed.hash


def test_drawing_random_weights_leaves_other_randomness_alone(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    opened(folder, random_init=True)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float64", torch.float64)],
)
def test_weights_are_held_in_the_requested_format(
    tmp_path: Path, dtype: str, expected: torch.dtype
) -> None:
    assert opened(save_folder(tmp_path), dtype=dtype).dtype == expected


def test_end_tokens_come_from_tokenizer_and_generation_config(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, EOS]}))
    assert opened(folder).eos_ids == (EOS, 7)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        opened(tmp_path / "nowhere")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        opened(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_broken_config_is_refused(tmp_path: Path, content: str) -> None:
    (save_folder(tmp_path) / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json is not"):
        opened(tmp_path)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (save_folder(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        opened(tmp_path)


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (save_folder(tmp_path) / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        opened(tmp_path)


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights only"):
        opened(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (save_folder(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        opened(tmp_path)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    path = save_folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="weights cannot be read"):
        opened(tmp_path)


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lack model"):
        opened(configured(save_folder(tmp_path, "llama"), num_hidden_layers=3))


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights"):
        opened(configured(save_folder(tmp_path, "llama"), intermediate_size=40))


def test_a_model_that_does_not_write_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a causal language model"):
        opened(
            configured(save_folder(tmp_path), architectures=["BertForMaskedLM"], model_type="bert")
        )


def test_a_model_that_needs_its_own_code_is_refused(tmp_path: Path) -> None:
    changes = {
        "model_type": "homemade",
        "architectures": ["HomemadeForCausalLM"],
        "auto_map": {"AutoConfig": "homemade.Config"},
    }
    (tmp_path / "homemade.py").write_text("raise SystemExit('foreign code ran')")
    with pytest.raises(ModelError, match="without running its own code"):
        opened(configured(save_folder(tmp_path), **changes))


def test_an_unknown_builtin_model_is_refused() -> None:
    with pytest.raises(ModelError, match="no such built-in model"):
        load(Network(model="builtin:nobody"))


def test_an_unresolved_name_is_refused() -> None:
    with pytest.raises(ModelError, match="resolved by a worker"):
        load(Network(model="model:mine@1234"))


def test_a_hub_model_that_cannot_be_fetched_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="could not be downloaded"):
        load(Network(model="hub:nobody/nothing@main"))


@pytest.mark.parametrize("random_init", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"eos_token_id": [1, 2]},
        {"max_position_embeddings": 77},
        {"vocab_size": VOCABULARY + 9},
        {"remove": "generation_config.json"},
        {"remove": "generation_config.json", "eos_token_id": 2},
    ],
)
@pytest.mark.parametrize("shape", ["qwen2", "llama"])
def test_without_its_weights_a_model_says_the_same_of_its_texts(
    tmp_path: Path, shape: str, changes: dict[str, Any], random_init: bool
) -> None:
    config = {key: value for key, value in changes.items() if key != "remove"}
    folder = save_folder(tmp_path, shape, **config)
    if name := changes.get("remove"):
        (folder / name).unlink()
    network = Network(model=f"file:{folder}", random_init=random_init)
    whole, text = load(network), open_text_model(network)
    for field in ("name", "vocabulary", "max_length", "eos_ids", "chat_template", "thinking"):
        assert getattr(text, field) == getattr(whole, field)
    ends = whole.model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    assert {1, *(end for end in listed if end is not None)} == set(whole.eos_ids)
