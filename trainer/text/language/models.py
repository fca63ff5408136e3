"""Language models as the rest of the trainer uses them: network, tokenizer and facts about both.

`vocabulary` is the tokenizer's size, not the embedding's width: checkpoints pad the embedding to a
round number, and the rows beyond the tokenizer have no meaning. Every softmax in this project is
over ids 0 … vocabulary − 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.spec.networks import Network, Thinking
from trainer.text.language.heads import check_head
from trainer.text.language.model_folders import ModelError, check_folder, content_hash, local_folder
from trainer.text.language.tokenizers import load_tokenizer, vocabulary_size

__all__ = ["LanguageModel", "ModelError", "layers_of", "load", "recompute_activations"]

NUMBER_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    `eos_ids` are the ids that end an answer, the tokenizer's own first. `chat_template` and
    `thinking` say how its prompts are formatted.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    hash: str
    vocabulary: int
    max_length: int
    eos_ids: tuple[int, ...]
    chat_template: bool
    thinking: Thinking = "as_the_template"

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype


def load(
    network: Network,
    seed: int = 0,
    device: torch.device | str = "cpu",
    resolve: Callable[[str], Path] = local_folder,
) -> LanguageModel:
    """Open a network of the run, in eval mode (no dropout) on `device`.

    `resolve` turns the network's URI into a folder. With `network.random_init` the weights are
    drawn from `seed`, even if the folder has weights. Raises ModelError if the model cannot be
    used.
    """
    folder = resolve(network.model)
    settings = check_folder(folder, weights=not network.random_init)
    tokenizer = load_tokenizer(folder)
    config = _config(folder)
    model = (
        _random(config, network, seed) if network.random_init else _stored(folder, config, network)
    )
    vocabulary = vocabulary_size(tokenizer)
    embeddings = cast(torch.Tensor, model.get_input_embeddings().weight)
    if embeddings.shape[0] < vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer has {vocabulary} tokens, more than the model "
            "embeds. Use the model's own tokenizer."
        )
    model = model.eval().to(device)
    check_head(model, str(folder))
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        name=network.model,
        hash=content_hash(
            folder,
            weights=not network.random_init,
            extra=f"random:{seed}" if network.random_init else "",
        ),
        vocabulary=vocabulary,
        max_length=int(
            settings.get("max_position_embeddings")
            or getattr(config, "max_position_embeddings", None)
            # Some architectures have no limit of positions.
            or 2**31
        ),
        eos_ids=_eos_ids(tokenizer, model, folder),
        chat_template=network.chat_template and bool(tokenizer.chat_template),
        thinking=network.thinking,
    )


def layers_of(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Return the transformer blocks of a network, in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def recompute_activations(model: PreTrainedModel) -> None:
    """Turn on gradient checkpointing: the same gradients with less memory and more computation.

    The backward pass then computes each layer's activations again instead of storing them. Only the
    layers' own flag says "training"; everything inside them stays in eval mode, so without dropout.
    """
    layers: list[Any] = layers_of(model)
    for layer in layers:
        layer.training = layer.gradient_checkpointing = True
        # The reentrant kind gives no gradients where a layer's input requires none, as with frozen
        # embeddings under an adapter.
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def _config(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, TypeError, OSError) as error:
        cause = str(error).strip().splitlines()[0]
        version = transformers.__version__
        raise ModelError(
            f"{folder}: transformers {version} cannot open this model without running its "
            f"own code ({cause})."
        ) from error


def _random(config: Any, network: Network, seed: int) -> PreTrainedModel:
    # The run's own generator stays as it was; the weights are drawn on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(
            config, dtype=NUMBER_FORMATS[network.dtype], trust_remote_code=False
        )


def _stored(folder: Path, config: Any, network: Network) -> PreTrainedModel:
    transformers.utils.logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=NUMBER_FORMATS[network.dtype],
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        cause = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{folder}: the weights cannot be read ({cause}). Save or download the model again."
        ) from error
    model, report = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    # transformers gives missing weights random values and only logs it.
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        further_keys = f" and {len(missing) - 1} more keys" if len(missing) > 1 else ""
        raise ModelError(
            f"{folder}: the weights lack {missing[0]}{further_keys}. Save or download the "
            "model again."
        )
    return model


def _eos_ids(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, folder: Path
) -> tuple[int, ...]:
    # Chat models list further end tokens there, such as the end of a turn.
    generation = getattr(model.generation_config, "eos_token_id", None)
    listed = generation if isinstance(generation, list) else [generation]
    eos_ids = tuple(
        dict.fromkeys(end for end in (tokenizer.eos_token_id, *listed) if end is not None)
    )
    if not eos_ids:
        raise ModelError(
            f"{folder}: neither tokenizer nor generation_config.json names an end-of-text "
            "token, so no answer could end."
        )
    return eos_ids
