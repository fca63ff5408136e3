"""The last layer of a model in its folder gives the logits of the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.text.language.model_folders import ModelError
from trainer.text.language.stored_heads import fingerprint, load_head

SIZE = {
    "vocab_size": 23,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
IDS = torch.tensor([[3, 5, 7, 11]])


def saved(folder: Path, kind: str, seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **SIZE, **settings)
    model = AutoModelForCausalLM.from_config(config).eval()
    # Large enough that a cap and a scale show.
    model.get_output_embeddings().weight.data *= 20
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {"tie_word_embeddings": False}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("gemma2", {"final_logit_softcapping": 5.0}),
        ("cohere", {"logit_scale": 0.25}),
        ("granite", {"logits_scaling": 8.0}),
        ("phi", {"tie_word_embeddings": False}),
    ],
)
@torch.no_grad()
def test_hidden_states_and_stored_head_are_the_model(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = saved(tmp_path, kind, **settings)
    if model.get_output_embeddings().bias is not None:
        model.get_output_embeddings().bias.data += torch.arange(23)
        model.save_pretrained(tmp_path)
    hidden = model.base_model(input_ids=IDS).last_hidden_state[0]
    expected = model(input_ids=IDS).logits[0]
    head = load_head(f"file:{tmp_path}")
    torch.testing.assert_close(head.logits(hidden, 23), expected, atol=1e-4, rtol=1e-4)


def test_the_fingerprint_is_that_of_weights_cap_and_scale(tmp_path: Path) -> None:
    folders: dict[str, dict[str, Any]] = {
        "one": {"final_logit_softcapping": 5.0},
        "same": {"final_logit_softcapping": 5.0},
        "cap": {"final_logit_softcapping": 6.0},
        "weights": {"final_logit_softcapping": 5.0, "seed": 1},
    }
    for name, settings in folders.items():
        saved(tmp_path / name, "gemma2", **settings)
    hashes = {name: fingerprint(load_head(f"file:{tmp_path / name}")) for name in folders}
    assert hashes["one"] == hashes["same"] and len(set(hashes.values())) == 3


def test_a_folder_without_the_layer_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "llama", tie_word_embeddings=False)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights of a last layer"):
        load_head(f"file:{tmp_path}")
