"""Peak memory of a divergence with gradients at a large vocabulary: in chunks against full logits, each in a fresh process.

Hidden states of student and teacher [T, H] and both heads [V, H] are the inputs; what is counted is the highest resident memory
from then on, gradients of hidden states and head included, above what was resident before. Linux only: it resets the kernel's
high-water mark of the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.text.heads import Head
from trainer.text.objectives import divergences
from trainer.text.objectives.linear_divergence import Kind, linear_divergence

VOCABULARY, TOKENS, HIDDEN = 151_936, 2_048, 896
KINDS: list[Kind] = ["forward_kl", "reverse_kl"]
ARMS = [(how, kind) for how in ("chunks", "full logits") for kind in KINDS]


def measure() -> list[dict[str, Any]]:
    return [_in_fresh_process(how, kind) for how, kind in ARMS]


def _in_fresh_process(how: str, kind: Kind) -> dict[str, Any]:
    finished = subprocess.run([sys.executable, "-m", "bench.divergence_memory", how, kind], check=True, capture_output=True, text=True)
    return dict(json.loads(finished.stdout))


def _run(how: str, kind: Kind) -> dict[str, Any]:
    hidden = torch.randn(TOKENS, HIDDEN).requires_grad_()
    weight = torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02).requires_grad_()
    teacher_hidden, teacher_weight = torch.randn(TOKENS, HIDDEN), torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02)
    before = _start_counting()
    begin = time.process_time()
    if how == "chunks":
        loss, _ = linear_divergence(
            hidden, Head(weight, None), lambda tokens: teacher_hidden[tokens] @ teacher_weight.T, torch.full((TOKENS,), 1 / TOKENS),
            torch.zeros(TOKENS, dtype=torch.long), kind, vocabulary=VOCABULARY,
        )  # fmt: skip
    else:
        kl = divergences.forward_kl if kind == "forward_kl" else divergences.reverse_kl
        loss: Tensor = kl(teacher_hidden @ teacher_weight.T, hidden @ weight.T).mean()  # type: ignore[no-redef]
    loss.backward()
    taken = time.process_time() - begin
    peak = (_status("VmHWM") - before) / 2**20
    return {"divergence": kind, "by": how, "peak GiB above inputs": peak, "CPU s": taken, "loss": loss.item()}


def _start_counting() -> int:
    """Reset the high-water mark and return what is resident now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    how, kind = sys.argv[1], sys.argv[2]
    json.dump(_run(how, "forward_kl" if kind == "forward_kl" else "reverse_kl"), sys.stdout)
