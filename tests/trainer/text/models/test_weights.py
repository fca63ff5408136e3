"""Weights that no run can use are named: NaN, quantised ones to be trained, GGUF files."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils.quantization_config import QuantizationMethod

from tests.trainer.text.models.test_models import configured, opened
from tests.trainer.text.tiny import save_folder
from trainer.spec.networks import Network
from trainer.text.language.models import LanguageModel, ModelError, load


def changed_weights(folder: Path, part: str, value: float, row: int | None = 5) -> str:
    """Set a row of the first weight whose name has `part`; return its name."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if part in name)
    weights[name][... if row is None else row] = value
    save_file(weights, path, {"format": "pt"})
    return name


@pytest.mark.parametrize("shape", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("part", ["embed_tokens", "q_proj.weight", "down_proj", "norm.weight"])
@pytest.mark.parametrize(
    ("value", "word"), [(torch.nan, "NaN"), (torch.inf, "infinite"), (-torch.inf, "infinite")]
)
def test_weights_that_are_no_numbers_are_called_that(
    tmp_path: Path, shape: str, part: str, value: float, word: str
) -> None:
    folder = save_folder(tmp_path, shape)
    name = changed_weights(folder, part, value)
    with pytest.raises(ModelError, match=rf"weights of {name} are {word}"):
        opened(folder)


def test_stored_weights_that_random_ones_replace_may_be_anything(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    changed_weights(folder, "embed", torch.nan)
    assert opened(folder, random_init=True).model


METHODS: list[dict[str, Any]] = [
    {"quant_method": "awq", "bits": 4, "group_size": 16},
    {"quant_method": "gptq", "bits": 4, "group_size": 16},
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {}},
    {"quant_method": "fp8"},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["quant_method"])
def test_quantised_weights_are_not_trained(tmp_path: Path, method: dict[str, Any]) -> None:
    folder = configured(save_folder(tmp_path), quantization_config=method)
    with pytest.raises(ModelError, match=rf"quantised weights \({method['quant_method']}\)"):
        opened(folder)


@pytest.mark.parametrize("name", sorted(method.value for method in QuantizationMethod))
@pytest.mark.parametrize("settings", [{}, {"bits": 4, "group_size": 16}, {"load_in_4bit": True}])
def test_a_quantised_teacher_that_does_not_open_says_why(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    """Which packages are installed is the machine's affair; weights may also be of another kind."""
    method = {"quant_method": name, **settings}
    folder = configured(save_folder(tmp_path), quantization_config=method)
    said = ""
    try:
        assert load(Network(model=f"file:{folder}"), frozen=True).model
    except ModelError as error:
        said = str(error)
    reason = (
        rf"quantised weights \({re.escape(name)}.*cannot be opened|weights lack|linear function"
    )
    assert not said or re.search(reason, said), said


@pytest.mark.parametrize("settings", ["fp8", ["fp8"], {"quant_method": None}, {"a": 1}, 4])
def test_a_quantisation_of_any_form_is_refused_in_words(tmp_path: Path, settings: Any) -> None:
    folder = configured(save_folder(tmp_path), quantization_config=settings)
    for frozen in (False, True):
        with contextlib.suppress(ModelError):
            assert load(Network(model=f"file:{folder}"), frozen=frozen).model and frozen


def quantised_to_fp8(folder: Path, block: int = 16) -> Path:
    """Quantise the linear layers of the blocks as DeepSeek and Qwen do: E4M3 with block scales."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in [name for name in weights if name.endswith("proj.weight")]:
        weight = weights[name].float()
        rows, columns = (-(-size // block) for size in weight.shape)
        scales = torch.empty(rows, columns)
        quantised = torch.empty_like(weight, dtype=torch.float8_e4m3fn)
        for i in range(rows):
            for j in range(columns):
                cell = (slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block))
                scales[i, j] = weight[cell].abs().max() / 448
                quantised[cell] = (weight[cell] / scales[i, j]).to(torch.float8_e4m3fn)
        weights[name], weights[f"{name}_scale_inv"] = quantised, scales
    save_file(weights, path, {"format": "pt"})
    method = {"quant_method": "fp8", "weight_block_size": [block, block]}
    return configured(folder, quantization_config=method)


def first_logits(model: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.model(torch.arange(3, 19)[None]).logits
    return logits.float()


@pytest.mark.parametrize("shape", ["llama", "qwen2"])
def test_a_teacher_in_fp8_computes_what_its_full_weights_do(tmp_path: Path, shape: str) -> None:
    full = opened(save_folder(tmp_path / "full", shape))
    folder = quantised_to_fp8(save_folder(tmp_path / "fp8", shape))
    teacher = load(Network(model=f"file:{folder}"), frozen=True)
    probabilities = [first_logits(model).softmax(-1) for model in (full, teacher)]
    # Three bits of mantissa: about 4 % of each weight.
    distance = (probabilities[0] - probabilities[1]).abs().sum(-1).mean()
    assert 0 < float(distance) < 0.3
    assert teacher.vocabulary == full.vocabulary and teacher.eos_ids == full.eos_ids


@pytest.mark.parametrize("name", ["model-q4_k_m.gguf", "model-00001-of-00002.GGUF"])
@pytest.mark.parametrize("place", ["folder", "file", "missing file"])
def test_gguf_is_named_in_its_refusal(tmp_path: Path, place: str, name: str) -> None:
    if place != "missing file":
        (tmp_path / name).write_bytes(b"GGUF")
    target = tmp_path if place == "folder" else tmp_path / name
    with pytest.raises(ModelError, match="GGUF"):
        load(Network(model=f"file:{target}"))


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("hub:some/model-GGUF", ["README.md", "q4/model.gguf"]),
        ("hub:some/model-GGUF@main", ["config.json", "model.Q4.GGUF"]),
        ("hub:some/model-GGUF/model.gguf", []),
    ],
)
def test_gguf_on_the_hub_is_named_in_its_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, files: list[str]
) -> None:
    """The hub itself is not there: its answers are those of its client."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: files)
    with pytest.raises(ModelError, match=rf"{re.escape(uri)} is in GGUF files"):
        load(Network(model=uri))


def test_safetensors_on_the_hub_beside_gguf_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: ["model.gguf"])
    assert load(Network(model="hub:some/model")).model


def test_gguf_files_beside_safetensors_are_ignored(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "model.gguf").write_bytes(b"GGUF")
    assert opened(folder).model


def test_random_weights_keep_the_end_tokens(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 1, 9]}))
    assert opened(folder, random_init=True).eos_ids == opened(folder).eos_ids == (1, 7, 9)


ODD_VALUES: list[Any] = [None, [], {}, [1], "x", -1, 0, 1.5, True, 10**30, {"a": [1]}]
ODD_SETTINGS = {
    "config.json": "architectures model_type vocab_size hidden_size num_attention_heads dtype "
    "text_config rope_parameters max_position_embeddings eos_token_id layer_types hidden_act",
    "generation_config.json": "eos_token_id temperature cache_implementation",
    "tokenizer_config.json": "eos_token chat_template added_tokens_decoder",
    "tokenizer.json": "added_tokens model normalizer decoder",
}


@pytest.mark.parametrize("random_init", [False, True])
@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_odd_settings_of_a_folder_are_refused_in_words_or_have_no_effect(
    tmp_path: Path, name: str, random_init: bool
) -> None:
    folder = save_folder(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    original = (folder / name).read_text()
    texts = ["", "[]", "null", "{", "\x00"]
    texts += [
        json.dumps(json.loads(original) | {setting: value})
        for setting in ODD_SETTINGS[name].split()
        for value in ODD_VALUES
    ]
    for text in texts:
        (folder / name).write_text(text)
        with contextlib.suppress(ModelError):
            assert opened(folder, random_init=random_init).eos_ids
