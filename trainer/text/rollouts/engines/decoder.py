"""One forward pass at a time through Llama-, Qwen2- and Qwen3-shaped networks, with a cache of our own.

It calls the network's own layers (so weights, biases, norms, adapters and number format are the network's) and replaces only
what transformers spends most of a small step on: attention over the cache, masks and positions.

Shapes: P prompts, N rows, T tokens, H hidden, Q query heads, K key-value heads, D width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.text.models import LanguageModel
from trainer.text.rollouts.engines.cohort import Cohort

MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})
ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
FIRST_COLUMNS = 32

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def unsupported(language_model: LanguageModel) -> str | None:
    """Why `Decoder` cannot run this network, or None if it can."""
    config = language_model.model.config
    if config.model_type not in MODEL_TYPES:
        return f"networks of type {config.model_type} are not among {', '.join(sorted(MODEL_TYPES))}"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some layers attend to a sliding window"
    if config.rope_parameters["rope_type"] not in ROPE_TYPES:
        return f"positions of type {config.rope_parameters['rope_type']} depend on the length of the text"
    return None


class Decoder:
    """The two passes of sampling: `start` reads prompts, `step` reads one token of every row."""

    def __init__(self, language_model: LanguageModel) -> None:
        self.model: Any = language_model.model
        self.layers = self.model.model.layers
        self.vocabulary = language_model.vocabulary
        config = self.model.config
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.cosines, self.sines = self._rotations(FIRST_COLUMNS)

    def start(self, ids_PT: Tensor, lengths_P: Tensor, prompt_of_row: Tensor) -> tuple[Cohort, Tensor]:
        """Read right-padded prompts once each, for one or more rows. Returns their cohort and the next token's logits [N, V]."""
        prompts, tokens = ids_PT.shape
        cohort: Cohort | None = None

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            nonlocal cohort
            query, key, value = (part.unflatten(0, (prompts, tokens)).transpose(1, 2) for part in (query, key, value))
            cohort = cohort or Cohort(len(self.layers), lengths_P[prompt_of_row], tokens, tokens + FIRST_COLUMNS, key)
            cohort.keys[layer, :, :, :tokens] = key[prompt_of_row]
            cohort.values[layer, :, :, :tokens] = value[prompt_of_row]
            # Padding stands on the right, where the causal mask hides it from every real token.
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=self._scale(layer), enable_gqa=True)
            return mixed.transpose(1, 2).reshape(prompts * tokens, -1)

        positions = torch.arange(tokens, device=ids_PT.device).repeat(prompts)
        hidden = self._hidden(ids_PT.flatten(), positions, tokens, attend)
        last = torch.arange(prompts, device=ids_PT.device) * tokens + lengths_P - 1
        assert cohort is not None
        return cohort, self._logits(hidden[last])[prompt_of_row]

    def step(self, ids_N: Tensor, cohorts: Sequence[Cohort]) -> Tensor:
        """Append one token to every row, the cohorts' rows one after the other. Returns the next token's logits [N, V]."""
        positions = torch.cat([cohort.lengths for cohort in cohorts])
        sizes = [len(cohort) for cohort in cohorts]
        for cohort in cohorts:
            cohort.advance()

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            parts = zip(cohorts, query.split(sizes), key.split(sizes), value.split(sizes), strict=True)
            return torch.cat([cohort.attend(layer, q, k, v, self._scale(layer)) for cohort, q, k, v in parts])

        return self._logits(self._hidden(ids_N, positions, max(cohort.longest for cohort in cohorts), attend))

    def _hidden(self, ids: Tensor, positions: Tensor, columns: int, attend: Attend) -> Tensor:
        """Last hidden states [T, H] of a flat list of tokens at positions below `columns`."""
        if columns > len(self.cosines):
            self.cosines, self.sines = self._rotations(2 * columns)
        cosines, sines = self.cosines[positions, None], self.sines[positions, None]
        hidden = self.model.model.embed_tokens(ids)
        for number, layer in enumerate(self.layers):
            attention = layer.self_attn
            normed = layer.input_layernorm(hidden)
            query = attention.q_proj(normed).view(len(ids), -1, self.width)
            key = attention.k_proj(normed).view(len(ids), -1, self.width)
            value = attention.v_proj(normed).view(len(ids), -1, self.width)
            if hasattr(attention, "q_norm"):
                query, key = attention.q_norm(query), attention.k_norm(key)
            mixed = attend(number, _rotated(query, cosines, sines), _rotated(key, cosines, sines), value)
            hidden = hidden + attention.o_proj(mixed)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return self.model.model.norm(hidden)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden)[:, : self.vocabulary]

    def _scale(self, layer: int) -> float:
        return float(self.layers[layer].self_attn.scaling)

    def _rotations(self, columns: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [C, D] of every position; the sign of the rotation's first half is folded into the sines."""
        positions = torch.arange(columns, device=self.model.device)
        cosines, sines = self.model.model.rotary_emb(self.model.lm_head.weight, positions[None])
        sines = sines[0].clone()
        sines[:, : self.width // 2].neg_()
        return cosines[0], sines


def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    return heads * cosines + heads.roll(heads.shape[-1] // 2, -1) * sines
