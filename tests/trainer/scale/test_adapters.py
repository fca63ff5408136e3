"""LoRA: only the adapter is trained.

Everything that uses the network computes with the adapter, and other programs can load what is
saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    DeepseekV3Config,
    FalconConfig,
    Gemma3TextConfig,
    Glm4MoeConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
    Starcoder2Config,
)
from transformers.pytorch_utils import Conv1D

from tests.trainer.text.tiny import VOCABULARY, save_folder
from trainer.spec import Network
from trainer.spec.networks import LowRankAdapter
from trainer.spec.sampling import Sampling
from trainer.text.language import adapters
from trainer.text.language.heads import head_of, last_hidden
from trainer.text.language.hidden_states import completion_ids, response_hidden
from trainer.text.language.model_folders import ModelError
from trainer.text.language.models import LanguageModel, load
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest

SETTINGS = LowRankAdapter(rank=4, alpha=8.0)
IDS = torch.tensor([[5, 9, 13, 4, 20, 7]])


def student(folder: Path, shape: str = "qwen2") -> LanguageModel:
    return load(Network(model=f"file:{save_folder(folder, shape)}", dtype="float64"))


def adapted(folder: Path, shape: str = "qwen2", trained: bool = True) -> LanguageModel:
    """Return a student with a trained adapter, or an untrained one if the test asks for it."""
    language_model = student(folder, shape)
    adapters.add_adapter(language_model, SETTINGS, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in language_model.model.named_parameters():
            if trained and "lora_B" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    return language_model


def logits(language_model: LanguageModel) -> torch.Tensor:
    network: Any = language_model.model
    with torch.no_grad():
        return torch.Tensor(network(input_ids=IDS).logits)


def test_an_untrained_adapter_changes_nothing_and_is_all_that_is_trained(tmp_path: Path) -> None:
    plain, model = student(tmp_path / "a"), adapted(tmp_path / "b", trained=False)
    assert torch.equal(logits(plain), logits(model))
    trained = [
        name for name, parameter in model.model.named_parameters() if parameter.requires_grad
    ]
    assert len(trained) == 2 * 7 * 2  # layers of the network, its adapted projections, A and B
    assert all("lora_" in name for name in trained)


def test_the_same_seed_draws_the_same_adapter(tmp_path: Path) -> None:
    first, second = (adapters.adapter_weights(adapted(tmp_path / name).model) for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_adapter_off_is_the_network_before_the_run(tmp_path: Path) -> None:
    plain, model = student(tmp_path / "a"), adapted(tmp_path / "b")
    assert not torch.allclose(logits(plain), logits(model))
    with adapters.without_adapter(model.model):
        assert torch.equal(logits(plain), logits(model))
    assert not torch.allclose(logits(plain), logits(model))
    assert any(parameter.requires_grad for parameter in model.model.parameters())


def test_merged_weights_give_the_same_logits_without_an_adapter(tmp_path: Path) -> None:
    plain, model = student(tmp_path / "a"), adapted(tmp_path / "b")
    folded = adapters.merged_weights(model.model)
    assert folded.keys() == plain.model.state_dict().keys()
    plain.model.load_state_dict(folded)
    torch.testing.assert_close(logits(plain), logits(model), rtol=1e-12, atol=1e-12)


def test_head_and_hidden_states_are_those_of_the_adapted_network(tmp_path: Path) -> None:
    model = adapted(tmp_path)
    actual = head_of(model.model).logits(last_hidden(model.model, IDS), VOCABULARY)
    torch.testing.assert_close(actual, logits(model), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", ["llama", "qwen2", "qwen3"])
def test_the_sampler_samples_from_the_weights_that_are_trained(tmp_path: Path, shape: str) -> None:
    model, prompt = adapted(tmp_path, shape), (5, 9, 13)
    answers = sample(
        model, [SampleRequest("p", prompt, (0, 1, 2))], Sampling(max_new_tokens=12), Noise(1, 0)
    )
    rows = [(answer.prompt, answer.ids) for answer in answers]
    with torch.no_grad():
        logprobs_TV = (
            head_of(model.model).logits(response_hidden(model, rows), VOCABULARY).log_softmax(-1)
        )
    expected_T = logprobs_TV.gather(1, completion_ids(rows)[:, None])[:, 0]
    sampled_T = torch.cat(
        [torch.as_tensor(segment.logprobs) for answer in answers for segment in answer.segments]
    )
    torch.testing.assert_close(sampled_T.double(), expected_T, rtol=1e-5, atol=1e-5)


def test_an_exported_adapter_opens_with_peft(tmp_path: Path) -> None:
    from peft import PeftModel

    model, plain = adapted(tmp_path / "a"), student(tmp_path / "b")
    folder = tmp_path / "exported"
    folder.mkdir()
    for name, content in adapters.config_file(model, SETTINGS).items():
        (folder / name).write_bytes(content)
    save_file(
        {
            name: tensor.contiguous()
            for name, tensor in adapters.adapter_weights(model.model).items()
        },
        folder / "adapter_model.safetensors",
    )
    network: Any = PeftModel.from_pretrained(plain.model, folder, autocast_adapter_dtype=False)
    with torch.no_grad():
        torch.testing.assert_close(
            network(input_ids=IDS).logits, logits(model), rtol=1e-12, atol=1e-12
        )


def test_a_network_without_such_layers_is_refused(tmp_path: Path) -> None:
    model = student(tmp_path)
    del model.model.model.layers
    with pytest.raises(ModelError, match="has no layer called q_proj"):
        adapters.add_adapter(model, LowRankAdapter(layers=("q_proj",)), 0)


SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OPT = {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
# A mixture whose first layer is dense, and whose other one has shared experts.
SHARED = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
DEEPSEEK = SHARED | {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 2,
    "topk_group": 1,
    "num_key_value_heads": 4,
}
LATENT = {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"}
LATENT |= {"gate_proj", "up_proj", "down_proj"}
# Networks by the layers of a block that an adapter trains.
ARCHITECTURES: list[tuple[str, Any, dict[str, Any], set[str]]] = [
    ("llama", LlamaConfig, {}, set(SEVEN)),
    ("phi3", Phi3Config, {}, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
    ("gpt2", GPT2Config, {}, {"c_attn", "c_proj", "c_fc"}),
    ("phi", PhiConfig, {}, {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}),
    (
        "neox",
        GPTNeoXConfig,
        {},
        {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
    ),
    (
        "qwen2_moe",
        Qwen2MoeConfig,
        {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
        set(SEVEN),
    ),
    ("mixtral", MixtralConfig, {"num_local_experts": 4}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("mistral", MistralConfig, {}, set(SEVEN)),
    ("gemma3", Gemma3TextConfig, {"head_dim": 8}, set(SEVEN)),
    ("olmo2", Olmo2Config, {}, set(SEVEN)),
    ("opt", OPTConfig, {"ffn_dim": 48, "word_embed_proj_dim": 32}, OPT),
    (
        "starcoder2",
        Starcoder2Config,
        {},
        {"q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"},
    ),
    (
        "falcon",
        FalconConfig,
        {"num_kv_heads": 2, "new_decoder_architecture": True},
        {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
    ),
    (
        "qwen3_moe",
        Qwen3MoeConfig,
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
        | {"mlp_only_layers": [0]},
        set(SEVEN),
    ),
    ("deepseek_v2", DeepseekV2Config, DEEPSEEK, LATENT),
    ("deepseek_v3", DeepseekV3Config, DEEPSEEK, LATENT),
    ("glm4_moe", Glm4MoeConfig, {**SHARED, "n_group": 1, "topk_group": 1}, set(SEVEN)),
]


def network(config_class: Any, changes: dict[str, Any]) -> LanguageModel:
    settings = SMALL | changes
    if config_class is GPT2Config:
        settings |= {"n_embd": 32, "n_layer": 2, "n_head": 4}
    torch.manual_seed(0)
    # Experts are computed in float32 at most.
    dtype = torch.float32 if changes else torch.float64
    model = AutoModelForCausalLM.from_config(config_class(**settings), dtype=dtype).eval()
    return LanguageModel(
        model=model,
        tokenizer=cast(Any, None),
        name="x",
        hash="",
        vocabulary=VOCABULARY,
        max_length=64,
        eos_ids=(1,),
        chat_template=False,
    )


@pytest.mark.parametrize(
    ("name", "config_class", "changes", "layers"),
    ARCHITECTURES,
    ids=[row[0] for row in ARCHITECTURES],
)
def test_an_adapter_trains_every_linear_layer_of_the_blocks(
    name: str, config_class: Any, changes: dict[str, Any], layers: set[str]
) -> None:
    model = network(config_class, changes)
    before = logits(model)
    linear = {
        path
        for path, module in model.model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not model.model.get_output_embeddings()
    }
    adapters.add_adapter(model, SETTINGS, seed=3)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=0)
    trained = {
        path.partition(".lora_")[0]
        for path, parameter in model.model.named_parameters()
        if parameter.requires_grad
    }
    assert {path.rpartition(".")[2] for path in trained} == layers
    assert {path for path in linear - trained if "gate" not in path} == set()
    with torch.no_grad():
        for path, parameter in model.model.named_parameters():
            if "lora_B" in path:
                parameter.normal_(0.0, 0.3)
    merged = network(config_class, changes)
    merged.model.load_state_dict(adapters.merged_weights(model.model))
    tolerance = 1e-4 if changes else 1e-9
    torch.testing.assert_close(logits(merged), logits(model), rtol=tolerance, atol=tolerance)
    level, note = adapters.describe(model, SETTINGS)[0]
    assert level == "info" and all(layer in note for layer in layers)


@pytest.mark.parametrize("layers", [("gate_proj",), ("q_b_proj", "down_proj")])
def test_a_part_of_a_mixture_is_trained_as_it_is_named(layers: tuple[str, ...]) -> None:
    model, settings = network(DeepseekV3Config, DEEPSEEK), LowRankAdapter(rank=4, layers=layers)
    adapters.add_adapter(model, settings, seed=3)
    trained = {
        name.partition(".lora_")[0].rpartition(".")[2]
        for name, value in model.model.named_parameters()
        if value.requires_grad
    }
    assert trained == set(layers)
    # Experts, which peft would adapt instead, stay as they are, and the log says so.
    assert any("experts" in note for _, note in adapters.describe(model, settings))


def test_layers_that_take_no_adapter_are_refused_in_words() -> None:
    model = network(MambaConfig, {"state_size": 4})
    with pytest.raises(ModelError, match=r"takes no adapter on .*out_proj.*train all weights"):
        adapters.add_adapter(model, SETTINGS, seed=3)


def test_layers_that_a_network_lacks_are_named() -> None:
    """What the seven names of earlier definitions train of Phi-3: half of its layers."""
    model, settings = network(Phi3Config, {}), LowRankAdapter(rank=4, layers=SEVEN)
    adapters.add_adapter(model, settings, seed=3)
    [(level, note)] = adapters.describe(model, settings)
    assert level == "warning"
    assert "trains the layers down_proj, o_proj alone" in note
    assert "has no layer called q_proj, k_proj, v_proj, gate_proj, up_proj" in note
    assert "not trained are gate_up_proj, qkv_proj" in note


def test_a_chosen_part_is_trained_without_a_warning(tmp_path: Path) -> None:
    model, settings = student(tmp_path), LowRankAdapter(rank=4, layers=("q_proj", "v_proj"))
    adapters.add_adapter(model, settings, seed=3)
    assert [level for level, _ in adapters.describe(model, settings)] == ["info"]
    trained = {name for name, value in model.model.named_parameters() if value.requires_grad}
    assert len(trained) == 2 * 2 * 2


def test_experts_in_one_tensor_are_said_to_stay() -> None:
    model = network(MixtralConfig, {"num_local_experts": 4})
    adapters.add_adapter(model, SETTINGS, seed=3)
    assert any("experts" in note for _, note in adapters.describe(model, SETTINGS))


def test_the_adapter_is_that_of_the_seven_names_where_a_network_has_them(tmp_path: Path) -> None:
    """Stored definitions name the seven layers; a new default must train the same."""
    weights = []
    for name, settings in (("a", SETTINGS), ("b", LowRankAdapter(rank=4, alpha=8.0, layers=SEVEN))):
        model = student(tmp_path / name)
        adapters.add_adapter(model, settings, seed=3)
        weights.append(adapters.adapter_weights(model.model))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
