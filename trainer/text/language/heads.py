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

    weight [V′, H] may be wider than the vocabulary in use; the rows beyond it have no meaning.
    """

    weight: Tensor
    bias: Tensor | None

    def logits(self, hidden_TH: Tensor, vocabulary: int) -> Tensor:
        """[T, vocabulary] in the head's own number format."""
        return F.linear(
            hidden_TH.to(self.weight.dtype),
            self.weight[:vocabulary],
            None if self.bias is None else self.bias[:vocabulary],
        )


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


@torch.no_grad()
def check_head(model: PreTrainedModel, name: str) -> None:
    """Raise ModelError if the logits are not the head's linear map of the hidden states.

    Capped or scaled logits are examples.
    """
    ids = torch.arange(4, device=model.device)[None]
    network: Any = model
    logits_TV = network(input_ids=ids, use_cache=False).logits[0]
    layer = model.get_output_embeddings()
    if isinstance(layer, torch.nn.Linear):
        linear_TV = head_of(model).logits(last_hidden(model, ids)[0], logits_TV.shape[-1])
        if torch.allclose(linear_TV, logits_TV, rtol=1e-3, atol=1e-3):
            return
    raise ModelError(
        f"{name}: its logits are not a plain linear function of its hidden states (they are capped "
        "or scaled, for example), which the objectives do not support. Choose a model such as "
        "Llama, Qwen2 or Qwen3."
    )
