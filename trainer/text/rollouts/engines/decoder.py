"""Forward passes for sampling through Llama-, Qwen2- and Qwen3-shaped networks, with our own cache.

Weights, biases, adapters and number format are the network's. Replaced is what transformers spends
most of a small step on: attention over the cache, masks, positions, unfused norms, and calls.

Shapes: P prompts, N rows, T tokens, H hidden, Q query heads, K key-value heads, D width of a head,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.row_cache import FIRST_COLUMNS, RowCache

MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})
# Other types (dynamic, longrope) change all rotations with the length of the text, which would make
# the keys in the cache wrong.
ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
# Weights of joined layers; copying more takes longer than the calls that it saves.
MOST_JOINED = 1 << 20

# Of a layer and its heads [T, Q + 2·K, D], queries and keys rotated: what is mixed, [T, Q·D].
Attend = Callable[[int, Tensor], Tensor]


def unsupported(language_model: LanguageModel) -> str | None:
    """Why `Decoder` cannot run this network, or None if it can."""
    config = language_model.model.config
    if config.model_type not in MODEL_TYPES:
        return (
            f"networks of type {config.model_type} are not among {', '.join(sorted(MODEL_TYPES))}"
        )
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some layers attend to a sliding window"
    if config.rope_parameters["rope_type"] not in ROPE_TYPES:
        return (
            f"positions of type {config.rope_parameters['rope_type']} depend on the length of the "
            "text"
        )
    return None


class Decoder:
    """The two passes of sampling: `start` reads prompts, `step` reads one token of every row."""

    def __init__(self, language_model: LanguageModel) -> None:
        self.model: Any = language_model.model
        self.layers = self.model.model.layers
        self.vocabulary = language_model.vocabulary
        config = self.model.config
        self.width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.heads = config.num_attention_heads, config.num_key_value_heads
        self.projections = [
            JoinedLinear([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj])
            for layer in self.layers
        ]
        self.output_projections = [JoinedLinear([layer.self_attn.o_proj]) for layer in self.layers]
        self.gate_projections = [
            JoinedLinear([layer.mlp.gate_proj, layer.mlp.up_proj]) for layer in self.layers
        ]
        self.down_projections = [JoinedLinear([layer.mlp.down_proj]) for layer in self.layers]
        self.cosines, self.sines = self._rotations(FIRST_COLUMNS)

    def start(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[list[Tensor], Tensor]:
        """Read right-padded prompts.

        Returns their keys and values, L tensors [2, P, K, T, D], and the next token's logits
        [P, V].
        """
        prompts, tokens = ids_PT.shape
        layers: list[Tensor] = []
        queries, keys = self.heads

        def attend(layer: int, heads: Tensor) -> Tensor:
            query, key, value = (
                heads.unflatten(0, (prompts, tokens))
                .transpose(1, 2)
                .split((queries, keys, keys), 1)
            )
            layers.append(torch.stack((key, value)))
            # Padding stands on the right, where the causal mask hides it from every real token.
            mixed = F.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=self._scale(layer), enable_gqa=True
            )
            return mixed.transpose(1, 2).reshape(prompts * tokens, -1)

        positions = torch.arange(tokens, device=ids_PT.device).repeat(prompts)
        hidden = self._hidden(ids_PT.flatten(), positions, tokens, attend)
        # The head is computed for each prompt's last token alone: it predicts the first new one.
        last = torch.arange(prompts, device=ids_PT.device) * tokens + lengths_P - 1
        return layers, self._logits(hidden[last])

    def step(self, ids_N: Tensor, cache: RowCache) -> Tensor:
        """Append one token to every row; return the next logits [N, V]."""
        positions = torch.from_numpy(cache.lengths).to(ids_N.device)
        cache.advance()
        queries = self.heads[0]

        def attend(layer: int, heads: Tensor) -> Tensor:
            cache.store(layer, heads[:, queries:])
            return cache.attend(layer, heads[:, :queries], self._scale(layer))

        return self._logits(self._hidden(ids_N, positions, cache.longest, attend))

    def _hidden(self, ids: Tensor, positions: Tensor, columns: int, attend: Attend) -> Tensor:
        """Last hidden states [T, H] of a flat list of tokens at positions below `columns`."""
        if columns > len(self.cosines):
            # Twice as many, so that a growing answer recomputes them only a few times.
            self.cosines, self.sines = self._rotations(2 * columns)
        cosines, sines = self.cosines[positions, None], self.sines[positions, None]
        hidden = self.model.model.embed_tokens(ids)
        blocks = zip(
            self.layers,
            self.projections,
            self.output_projections,
            self.gate_projections,
            self.down_projections,
            strict=True,
        )
        for layer_index, (layer, project, mix, gate, close) in enumerate(blocks):
            heads = project(_normed(layer.input_layernorm, hidden)).view(len(ids), -1, self.width)
            self._rotate(layer.self_attn, heads, cosines, sines)
            hidden = hidden + mix(attend(layer_index, heads))
            opened, raised = gate(_normed(layer.post_attention_layernorm, hidden)).chunk(2, -1)
            hidden = hidden + close(layer.mlp.act_fn(opened) * raised)
        return _normed(self.model.model.norm, hidden)

    def _rotate(self, attention: Any, heads: Tensor, cosines: Tensor, sines: Tensor) -> None:
        """Rotate the queries and keys among all heads [T, Q + 2·K, D], in place."""
        queries, keys = self.heads
        rotating = heads[:, : queries + keys]
        if hasattr(attention, "q_norm"):
            rotating[:, :queries] = _normed(attention.q_norm, rotating[:, :queries])
            rotating[:, queries:] = _normed(attention.k_norm, rotating[:, queries:])
        # Rolling by half of the width swaps the two halves of a head; the sign of the swap is in
        # the sines, which saves a negation and a concatenation per layer.
        swapped = rotating.roll(self.width // 2, -1).mul_(sines)
        rotating.mul_(cosines).add_(swapped)

    def _logits(self, hidden: Tensor) -> Tensor:
        # Checkpoints pad the head to a round number of rows; no token has these ids.
        return self.model.lm_head(hidden)[:, : self.vocabulary]

    def _scale(self, layer: int) -> float:
        return float(self.layers[layer].self_attn.scaling)

    def _rotations(self, columns: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [C, D] of every position, with the rotation's sign in the sines."""
        positions = torch.arange(columns, device=self.model.device)
        cosines, sines = self.model.model.rotary_emb(self.model.lm_head.weight, positions[None])
        sines = sines[0].clone()
        sines[:, : self.width // 2].neg_()
        return cosines[0], sines


class JoinedLinear:
    """Linear layers with the same input, computed as one.

    A small network spends most of its time in calls. Weights are copied at construction; large
    layers and layers with an adapter are not copied but called one by one.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = layers
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        if (
            # The exact type: peft replaces a layer with an adapter by a class of its own.
            all(type(layer) is nn.Linear for layer in layers)
            and sum(layer.weight.numel() for layer in layers) <= MOST_JOINED
        ):
            self.weight = torch.cat([layer.weight for layer in layers])
            self.bias = (
                None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
            )

    def __call__(self, hidden_TH: Tensor) -> Tensor:
        if self.weight is None:
            return torch.cat([layer(hidden_TH) for layer in self.layers], -1)
        return F.linear(hidden_TH, self.weight, self.bias)


def _normed(norm: Any, hidden: Tensor) -> Tensor:
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)
