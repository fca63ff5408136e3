"""The last layer of a language model, hidden states → logits, as a plain linear map.

The objectives apply it to a few tokens at a time, because the logits of a whole batch over a large
vocabulary are by far the largest tensors of training. This is only correct if there is nothing but
the linear map between hidden states and logits, so `check_head` compares it with the model's own
logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.text.language.model_folders import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Head(NamedTuple):
    """logits = hidden · weightᵀ + bias.

    weight [V′, H] may be wider than the vocabulary in use; the rows beyond it have no meaning. The
    head of a teacher on a server may scale its logits, and cap them by cap · tanh(logits / cap);
    that of a loaded network does neither (`check_head`).
    """

    weight: Tensor
    bias: Tensor | None
    cap: float | None = None
    scale: float = 1.0

    def logits(self, hidden_TH: Tensor, vocabulary: int) -> Tensor:
        """[T, vocabulary] in the head's own number format."""
        logits_TV = F.linear(
            hidden_TH.to(self.weight.dtype),
            self.weight[:vocabulary],
            None if self.bias is None else self.bias[:vocabulary],
        )
        if self.scale != 1:
            logits_TV = logits_TV * self.scale
        return logits_TV if self.cap is None else self.cap * (logits_TV / self.cap).tanh()


def head_of(model: PreTrainedModel) -> Head:
    layer: Any = model.get_output_embeddings()
    return Head(layer.weight, getattr(layer, "bias", None))


def last_hidden(model: PreTrainedModel, ids_NT: Tensor) -> Tensor:
    """Return the hidden states [N, T, H] that the head is applied to.

    Padding must be on the right, where causal attention ignores it.
    """
    backbone: Any = model.base_model
    hidden: Tensor = backbone(input_ids=ids_NT, use_cache=False).last_hidden_state
    return hidden


# Settings of transformers' configurations that change logits behind the head, with the value that
# changes nothing beside None.
LOGIT_SETTINGS: dict[str, float | None] = {
    "final_logit_softcapping": None,
    "output_logit_soft_cap": None,
    "logits_soft_cap": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "lm_head_multiplier": 1.0,
    "output_multiplier": 1.0,
}
# Size of the logits that `check_head` compares: a cap changes large logits only.
LARGE_LOGIT = 1e4


@torch.no_grad()
def check_head(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError if the logits are not the head's linear map of the hidden states.

    Capped or scaled logits are examples: the configuration says so, or the network computes
    something else with hidden states that give large logits.
    """
    for setting, neutral in LOGIT_SETTINGS.items():
        value = getattr(model.config, setting, None)
        # 0 stands for no cap in some configurations.
        if value not in (None, neutral, 0, False):
            raise _not_linear(name, f"its configuration sets {setting} to {value}")
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        raise _not_linear(name, "its last layer is no linear one")
    if not layer.weight.is_floating_point() or layer.weight.element_size() < 2:
        raise _not_linear(name, "the weights of its last layer are quantised")
    ids = torch.arange(min(4, layer.weight.shape[0]), device=model.device)[None]
    try:
        is_linear = _is_linear(model, ids)
    except torch.OutOfMemoryError:
        raise
    # Sizes in a configuration that do not fit each other show only here, as an error of any kind.
    except Exception as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{name}: this network cannot be computed ({cause}). Check that its config.json is the "
            "one that it was saved with."
        ) from error
    if not is_linear:
        raise _not_linear(name, "they are capped, scaled or shifted")


def _is_linear(model: PreTrainedModel, ids: Tensor) -> bool:
    """Return whether the logits are the head's map of its hidden states, and of large ones."""
    hidden_TH, head = last_hidden(model, ids)[0], head_of(model)
    width = head.weight.shape[0]
    largest = float(head.logits(hidden_TH, width).nan_to_num(neginf=0).abs().max())
    for factor in (1.0, LARGE_LOGIT / largest if largest else 1.0):
        logits_TV = _amplified_logits(model, ids, factor)
        linear_TV = head.logits(hidden_TH * factor, logits_TV.shape[-1])
        size = max(1.0, largest * factor)
        if not torch.allclose(linear_TV, logits_TV, rtol=1e-3, atol=1e-3 * size):
            return False
    return True


def _amplified_logits(model: PreTrainedModel, ids: Tensor, factor: float) -> Tensor:
    """Return the network's logits [T, V], with what its head reads times `factor`."""
    network: Any = model
    # At the head: some networks, such as OPT, pass their backbone by.
    handle = network.get_output_embeddings().register_forward_pre_hook(
        lambda _module, arguments: (arguments[0] * factor,)
    )
    try:
        logits: Tensor = network(input_ids=ids, use_cache=False).logits[0]
        return logits
    finally:
        handle.remove()


def _not_linear(name: str, cause: str) -> ModelError:
    return ModelError(
        f"{name}: its logits are not a plain linear function of its hidden states ({cause}), which "
        "the objectives do not support. Choose a model such as Llama, Qwen2 or Qwen3."
    )
