"""Peak memory and time of divergences with gradients at a large vocabulary.

Compares computation in chunks, as in training, with full logits of both models and autograd; over
all tokens, or over a half selected before the head (as in TIP). Inputs are hidden states of student
and teacher [T, H] and both heads [V, H]. The peak is the highest resident memory above the inputs,
gradients of hidden states and head included. Each arm is a fresh process. Linux only: it resets the
kernel's high-water mark of the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor

from bench.memory import start_counting, status
from trainer.spec import (
    JSD,
    AdaptiveKL,
    Clip,
    Divergence,
    ForwardKL,
    ReverseKL,
    SkewedKL,
    TopLogits,
)
from trainer.text.language.heads import Head
from trainer.text.lm_head.linear_divergence import linear_divergence, score_tokens
from trainer.text.objectives.divergences import divergence_of

VOCABULARY, TOKENS, HIDDEN = 151_936, 2_048, 896
OBJECTIVES: dict[str, Divergence] = {
    "forward KL": ForwardKL(),
    "reverse KL": ReverseKL(),
    "JSD ½": JSD(beta=0.5),
    "skewed KL": SkewedKL(alpha=0.1),
    "adaptive KL": AdaptiveKL(),
    "forward KL, entries clipped": ForwardKL(clip=Clip(scope="entry", limit=0.05)),
    "reverse KL, teacher's top 100 and tail": ReverseKL(
        vocabulary=TopLogits(k=100, of="teacher", rest="tail")
    ),
}
CHUNKS, FULL, SCORES = "chunks", "full logits", "scores only"
ARMS = [
    *((CHUNKS, name, TOKENS) for name in OBJECTIVES),
    (CHUNKS, "reverse KL", TOKENS // 2),
    (SCORES, "reverse KL", TOKENS),
    *((FULL, name, TOKENS) for name in ("forward KL", "reverse KL")),
    (FULL, "reverse KL", TOKENS // 2),
]


def measure() -> list[dict[str, Any]]:
    rows = []
    for method, name, tokens in ARMS:
        # A fresh process each: memory that an allocator keeps would hide the next arm's peak.
        command = [sys.executable, "-m", "bench.divergence_memory", method, name, str(tokens)]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(finished.stdout))
    return rows


def _run(method: str, name: str, tokens: int) -> dict[str, Any]:
    hidden = torch.randn(TOKENS, HIDDEN).requires_grad_()
    weight = torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02).requires_grad_()
    teacher_hidden = torch.randn(TOKENS, HIDDEN)
    teacher_weight = torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02)
    selected, head = torch.randperm(TOKENS)[:tokens], Head(weight, None)
    ids = torch.zeros(tokens, dtype=torch.long)

    def teacher_logits(some: slice) -> Tensor:
        return teacher_hidden[selected[some]] @ teacher_weight.T

    before, begin = start_counting(), time.process_time()
    if method == SCORES:
        loss = score_tokens(
            hidden[selected], head, teacher_logits, ids, vocabulary=VOCABULARY
        ).reverse_kl.mean()
    elif method == CHUNKS:
        even = torch.full((tokens,), 1 / tokens)
        loss, _ = linear_divergence(
            hidden[selected],
            head,
            teacher_logits,
            even,
            ids,
            OBJECTIVES[name],
            vocabulary=VOCABULARY,
        )
    else:
        loss = divergence_of(
            OBJECTIVES[name], teacher_logits(slice(None)), hidden[selected] @ weight.T
        ).mean()
    if loss.requires_grad:
        loss.backward()
    cpu_seconds = time.process_time() - begin
    peak = (status("VmHWM") - before) / 2**20
    return {
        "divergence": name,
        "by": method,
        "tokens": tokens,
        "peak GiB above inputs": peak,
        "CPU s": cpu_seconds,
        "mean": loss.item(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    json.dump(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])), sys.stdout)
