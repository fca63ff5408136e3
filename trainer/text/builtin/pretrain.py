"""Supervised training of a small network on worked arithmetic, with Muon and AdamW.

Muon trains the hidden matrices, AdamW the rest. A *lesson* turns a drawn problem into what the
network reads and what it is to write. Loss: mean over written tokens of
−log p(token | read, earlier tokens). Shapes: ids_BT int64, mask_BT 1 on written tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from trainer.text.builtin.muon import Muon
from trainer.text.builtin.tokenizer import VOCABULARY
from trainer.text.problems.arithmetic import draw
from trainer.text.problems.records import Problem

# One question in ten is never trained on: by its checksum, so that `measure` recognises these
# questions without a list of them.
HELD_OUT_SHARE = 10


class Example(NamedTuple):
    """A prompt, and the completion that the network learns (the end token is added)."""

    prompt: str
    completion: str


Lesson = Callable[[Problem, Random], Example | None]


def worked(problem: Problem, rng: Random) -> Example:
    """The plain lesson: the question, then its worked solution."""
    return Example(problem.question, problem.solution)


@dataclass(frozen=True)
class Pretraining:
    """A network's size, its curriculum (family, level, share of the problems) and its training.

    `lesson` may draw from its generator, so that a problem can be taught in several ways; if it
    returns None, the problem is left out. The learning rate falls to 0 over `horizon` steps; with
    fewer `steps` the training stops before that.
    """

    hidden: int
    layers: int
    heads: int
    curriculum: tuple[tuple[str, int, float], ...]
    steps: int
    horizon: int
    batch: int
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    seed: int = 0
    lesson: Lesson = worked


def held_out(problem: Problem) -> bool:
    """Whether the built-in pair never saw this question in its training."""
    return zlib.crc32(problem.question.encode()) % HELD_OUT_SHARE == 0


def initial(plan: Pretraining) -> Qwen2ForCausalLM:
    """A network with random weights drawn from the plan's seed."""
    torch.manual_seed(plan.seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=plan.hidden,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            num_key_value_heads=plan.heads,
            intermediate_size=3 * plan.hidden,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )


def train(
    plan: Pretraining, tokenizer: PreTrainedTokenizerFast, report: Callable[[int, float], None]
) -> Qwen2ForCausalLM:
    """Return the trained network; `report(step, loss)` is called after every step."""
    network = initial(plan)
    optimisers = _optimisers(network, plan)
    examples = _examples(plan)
    for step in range(plan.steps):
        # Linear warm-up over 3 % of the horizon, then down along 1 − step / horizon.
        share = min(step / (0.03 * plan.horizon), 1.0, 1 - step / plan.horizon)
        for optimiser, rate in zip(optimisers, (plan.muon_rate, plan.adam_rate), strict=True):
            optimiser.param_groups[0]["lr"] = rate * share
        loss = _accumulate(network, tokenizer, [next(examples) for _ in range(plan.batch)])
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        report(step + 1, loss)
    return network


def _examples(plan: Pretraining) -> Iterator[Example]:
    rng = Random(plan.seed)
    shares = [share for _, _, share in plan.curriculum]
    while True:
        family, level, _ = rng.choices(plan.curriculum, shares)[0]
        problem = draw(family, level, rng)
        if not held_out(problem) and (example := plan.lesson(problem, rng)):
            yield example


def _optimisers(
    network: Qwen2ForCausalLM, plan: Pretraining
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    hidden: list[Tensor] = []
    other_parameters: list[Tensor] = []
    for name, weight in network.named_parameters():
        is_hidden = weight.ndim == 2 and "embed" not in name
        (hidden if is_hidden else other_parameters).append(weight)
    return (
        Muon(hidden, lr=plan.muon_rate),
        torch.optim.AdamW(other_parameters, lr=plan.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )


def _accumulate(
    network: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, examples: list[Example]
) -> float:
    """Add the gradient of the batch's mean token loss, in quarters of similar length; return it."""
    rows = sorted((_row(tokenizer, example) for example in examples), key=lambda row: len(row[0]))
    tokens, total = sum(len(ids) - start for ids, start in rows), 0.0
    for quarter in range(4):
        first, last = quarter * len(rows) // 4, (quarter + 1) * len(rows) // 4
        ids_BT, mask_BT = _padded(rows[first:last])
        logits = network(input_ids=ids_BT[:, :-1]).logits
        loss_N = functional.cross_entropy(
            logits.flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="none"
        )
        # By the tokens of the whole batch, so that the quarters add up to its mean.
        loss = (loss_N * mask_BT[:, 1:].flatten()).sum() / tokens
        loss.backward()
        total += float(loss.detach())
    return total


def _row(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], int]:
    """Token ids of an example with the end token, and the index at which the completion starts."""
    prompt, completion = (tokenizer.encode(text, add_special_tokens=False) for text in example)
    return [*prompt, *completion, int(tokenizer.eos_token_id)], len(prompt)


def _padded(rows: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Right-padded ids_BT and mask_BT; causal attention alone keeps the padding out."""
    longest = max(len(ids) for ids, _ in rows)
    ids_BT, mask_BT = (
        torch.zeros(len(rows), longest, dtype=torch.long),
        torch.zeros(len(rows), longest),
    )
    for index, (ids, start) in enumerate(rows):
        ids_BT[index, : len(ids)] = torch.tensor(ids)
        mask_BT[index, start : len(ids)] = 1.0
    return ids_BT, mask_BT
