"""Networks whose logits are more than a linear map of hidden states are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTJConfig,
    GPTJForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from tests.trainer.text.models.test_models import configured, opened
from tests.trainer.text.tiny import SHAPES, VOCABULARY, character_tokenizer, save_folder
from trainer.text.language.heads import check_head
from trainer.text.language.models import ModelError

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "max_position_embeddings": 64,
    # Logits far below any cap, where a comparison of plain logits sees nothing.
    "initializer_range": 1e-3,
}
NETWORKS: dict[str, tuple[Any, Any]] = {
    "gemma2": (Gemma2Config, Gemma2ForCausalLM),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
    "cohere": (CohereConfig, CohereForCausalLM),
    "granite": (GraniteConfig, GraniteForCausalLM),
    "opt": (OPTConfig, OPTForCausalLM),
    "gptj": (GPTJConfig, GPTJForCausalLM),
}


def saved(folder: Path, name: str, **settings: Any) -> Path:
    config_class, model_class = NETWORKS[name]
    torch.manual_seed(0)
    model_class(config_class(**SIZES | settings)).save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("gemma2", "final_logit_softcapping", 30.0),
        ("gemma3", "final_logit_softcapping", 30.0),
        ("cohere", "logit_scale", 0.0625),
        ("granite", "logits_scaling", 8.0),
    ],
)
def test_a_cap_or_scale_is_named_from_the_configuration(
    tmp_path: Path, name: str, setting: str, value: float
) -> None:
    folder = saved(tmp_path, name, **{setting: value})
    with pytest.raises(ModelError, match=rf"its configuration sets {setting} to {value:g}"):
        opened(folder)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma3", {}),
        ("cohere", {"logit_scale": 1.0}),
        ("granite", {"logits_scaling": 1.0}),
        # Its head is applied to a decoder inside the backbone.
        ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
        ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 16}),
    ],
)
def test_the_same_networks_without_it_open(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    assert opened(saved(tmp_path, name, **settings)).vocabulary == VOCABULARY


class Changed(LlamaForCausalLM):
    """A network that changes its logits in a way that its configuration does not name."""

    change: Any

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = self.change(output.logits)
        return output


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: 15 * torch.tanh(logits / 15),
        lambda logits: 500 * torch.tanh(logits / 500),
        lambda logits: logits.clamp(max=40),
        lambda logits: logits * 1.01,
        lambda logits: logits / 3,
        lambda logits: logits + torch.linspace(0, 1, logits.shape[-1]),
        lambda logits: logits * logits.sigmoid(),
    ],
)
@pytest.mark.parametrize("size", [1e-3, 0.3])
def test_a_change_without_a_setting_is_found_whatever_the_size_of_the_logits(
    change: Any, size: float
) -> None:
    torch.manual_seed(1)
    settings = {name: value for name, value in SIZES.items() if name != "initializer_range"}
    model: Any = Changed(SHAPES["llama"][0](**settings, initializer_range=size)).eval()
    model.change = lambda logits: logits
    check_head(model, "x")
    model.change = change
    with pytest.raises(ModelError, match="not a plain linear function"):
        check_head(model, "x")


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        # Made by transformers; its first computation fails.
        ("gptj", {"rotary_dim": 64}, "this network cannot be computed"),
        ("granite", {"head_dim": 7}, "its config.json describes no network .*head_dim"),
        ("granite", {"num_attention_heads": 0}, "cannot be read|no network can be made"),
    ],
)
def test_a_network_whose_sizes_do_not_fit_is_refused_in_words(
    tmp_path: Path, name: str, settings: dict[str, Any], reason: str
) -> None:
    fitting: dict[str, dict[str, Any]] = {
        "gptj": {"n_inner": 48, "rotary_dim": 8},
        "granite": {"logits_scaling": 1.0},
    }
    folder = configured(saved(tmp_path, name, **fitting[name]), **settings)
    for random_init in (False, True):
        with pytest.raises(ModelError, match=reason):
            opened(folder, random_init=random_init)


def test_nothing_stays_changed_in_the_network(tmp_path: Path) -> None:
    model = opened(save_folder(tmp_path)).model
    before = model(torch.arange(5)[None]).logits
    check_head(model, "x")
    assert torch.equal(model(torch.arange(5)[None]).logits, before)


def test_a_masked_token_is_linear_too(tmp_path: Path) -> None:
    model: Any = opened(configured(save_folder(tmp_path, "llama"))).model
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.lm_head.weight.shape[0]))
    model.lm_head.bias.data[[0, 4]] = -torch.inf
    check_head(model, "x")
