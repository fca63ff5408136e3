"""One forward pass at a time through Llama-, Qwen2- and Qwen3-shaped networks, with a cache of slots.

It calls the network's own layers (so weights, biases, norms, adapters and number format are the network's) and replaces only
what transformers spends most of a small step on: attention over the cache, masks and positions. A slot is a row of the cache
that holds one answer being written, its tokens in columns 0 … length − 1: no padding on the left, so a finished answer's slot can be
given to a new prompt of any length.

Shapes: P prompts, S slots, T tokens, C columns of the cache, Q query heads, K key-value heads, D width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.text.models import LanguageModel

MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})
ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})

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
    """The cache and the two passes over it: `start` prompts in slots, then `step` by one token each."""

    def __init__(self, language_model: LanguageModel, slots: int, columns: int) -> None:
        self.model: Any = language_model.model
        self.vocabulary = language_model.vocabulary
        config = self.model.config
        self.heads = config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, slots, self.heads, columns, self.width)
        # Zeros, not empty memory: what a mask hides is still multiplied, and 0 · NaN is NaN.
        self.keys = torch.zeros(shape, dtype=language_model.dtype, device=language_model.device)
        self.values = torch.zeros_like(self.keys)
        self.cosines, self.sines = self._rotations(columns)

    def start(self, ids_PT: Tensor, lengths_P: Tensor, slots: Tensor, prompt_of_slot: Tensor) -> Tensor:
        """Read right-padded prompts once each and lay them into slots. Returns the next token's logits [slots, V]."""
        prompts, tokens = ids_PT.shape
        self._widen(tokens)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            query, key, value = (part.unflatten(0, (prompts, tokens)).transpose(1, 2) for part in (query, key, value))
            self.keys[layer, slots, :, :tokens] = key[prompt_of_slot]
            self.values[layer, slots, :, :tokens] = value[prompt_of_slot]
            # Padding stands on the right, where the causal mask hides it from every real token.
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=self._scale(layer), enable_gqa=True)
            return mixed.transpose(1, 2)

        positions = torch.arange(tokens, device=ids_PT.device).repeat(prompts)
        hidden = self._layers(ids_PT.flatten(), positions, attend)
        last = torch.arange(prompts, device=ids_PT.device) * tokens + lengths_P - 1
        return self._logits(hidden[last])[prompt_of_slot]

    def step(self, ids_S: Tensor, lengths_S: Tensor, columns: int) -> Tensor:
        """Append one token to every slot, whose tokens so far are `lengths_S`, all below `columns`. Returns the next logits [S, V]."""
        self._widen(columns)
        bias = self._hide_unwritten(lengths_S, columns)
        places = self._places(lengths_S)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]
            keys.view(-1, self.width)[places] = key.flatten(0, 1)
            values.view(-1, self.width)[places] = value.flatten(0, 1)
            # The query heads of one key-value head stand side by side as if they were tokens: no copy of the cache per head.
            grouped = query.reshape(len(ids_S) * self.heads, -1, self.width)
            scores = torch.baddbmm(bias, grouped, keys.flatten(0, 1)[:, :columns].transpose(1, 2), alpha=self._scale(layer))
            return torch.bmm(scores.softmax(-1), values.flatten(0, 1)[:, :columns])

        return self._logits(self._layers(ids_S, lengths_S, attend))

    def keep(self, slots: Tensor) -> None:
        """Drop all other slots; the kept ones are renumbered in the given order."""
        self.keys, self.values = self.keys.index_select(1, slots), self.values.index_select(1, slots)

    def _layers(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states [tokens, H] of a flat list of tokens."""
        network = self.model.model
        hidden = network.embed_tokens(ids)
        cosines, sines = self.cosines[positions, None], self.sines[positions, None]
        for number, layer in enumerate(network.layers):
            attention = layer.self_attn
            normed = layer.input_layernorm(hidden)
            query = attention.q_proj(normed).view(len(ids), -1, self.width)
            key = attention.k_proj(normed).view(len(ids), -1, self.width)
            value = attention.v_proj(normed).view(len(ids), -1, self.width)
            if hasattr(attention, "q_norm"):
                query, key = attention.q_norm(query), attention.k_norm(key)
            mixed = attend(number, _rotated(query, cosines, sines), _rotated(key, cosines, sines), value)
            hidden = hidden + attention.o_proj(mixed.reshape(len(ids), -1))
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return network.norm(hidden)

    def _hide_unwritten(self, lengths_S: Tensor, columns: int) -> Tensor:
        """What to add to the scores [S·K, 1, C] so that nothing beyond a slot's newest token is attended to."""
        unwritten_SC = torch.arange(columns, device=lengths_S.device) > lengths_S[:, None]
        bias_SC = torch.zeros(unwritten_SC.shape, dtype=self.keys.dtype, device=lengths_S.device).masked_fill_(unwritten_SC, -torch.inf)
        return bias_SC.repeat_interleave(self.heads, 0)[:, None]

    def _places(self, lengths_S: Tensor) -> Tensor:
        """Rows of a layer's cache, seen as [S·K·C, D], in which the newest token goes."""
        lines = torch.arange(len(lengths_S) * self.heads, device=lengths_S.device)
        return lines * self.keys.shape[-2] + lengths_S.repeat_interleave(self.heads)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(hidden)[:, : self.vocabulary]

    def _scale(self, layer: int) -> float:
        return float(self.model.model.layers[layer].self_attn.scaling)

    def _rotations(self, columns: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [C, D] of every position; the sign of the rotation's first half is folded into the sines."""
        positions = torch.arange(columns, device=self.keys.device)
        cosines, sines = self.model.model.rotary_emb(self.keys, positions[None])
        sines = sines[0].clone()
        sines[:, : self.width // 2].neg_()
        return cosines[0], sines

    def _widen(self, columns: int) -> None:
        """Make room for `columns` tokens, at least doubling, so that growing costs little in all."""
        missing = columns - self.keys.shape[-2]
        if missing > 0:
            missing = max(missing, self.keys.shape[-2])
            self.keys, self.values = F.pad(self.keys, (0, 0, 0, missing)), F.pad(self.values, (0, 0, 0, missing))
            self.cosines, self.sines = self._rotations(self.keys.shape[-2])


def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    return heads * cosines + heads.roll(heads.shape[-1] // 2, -1) * sines
