"""Weights that no run can use are named: NaN, quantised ones to be trained, GGUF files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

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


@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda method: method["quant_method"])
def test_a_quantised_teacher_that_does_not_open_says_why(
    tmp_path: Path, method: dict[str, Any]
) -> None:
    folder = configured(save_folder(tmp_path), quantization_config=method)
    # Which packages are installed is the machine's affair; weights of another kind than the
    # configuration says cannot be read.
    with pytest.raises(ModelError, match=r"lacks a package|cannot be read|weights lack"):
        load(Network(model=f"file:{folder}"), frozen=True)


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


@pytest.mark.parametrize("place", ["folder", "file"])
def test_gguf_is_named_in_its_refusal(tmp_path: Path, place: str) -> None:
    (tmp_path / "model-q4_k_m.gguf").write_bytes(b"GGUF")
    target = tmp_path if place == "folder" else tmp_path / "model-q4_k_m.gguf"
    with pytest.raises(ModelError, match="GGUF"):
        load(Network(model=f"file:{target}"))


def test_gguf_files_beside_safetensors_are_ignored(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "model.gguf").write_bytes(b"GGUF")
    assert opened(folder).model


def test_random_weights_keep_the_end_tokens(tmp_path: Path) -> None:
    folder = save_folder(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 1, 9]}))
    assert opened(folder, random_init=True).eos_ids == opened(folder).eos_ids == (1, 7, 9)
