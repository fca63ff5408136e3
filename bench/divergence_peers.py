"""Peak memory and time of reverse KL by TRL's chunked divergence and Liger's fused JSD.

Inputs and measurement are those of `divergence_memory`. Each arm is a fresh process in the peers'
environment.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from torch import Tensor

from bench.divergence_memory import HIDDEN, TOKENS, VOCABULARY
from bench.memory import start_counting, status
from bench.turns import peer, take

ARMS = ("TRL chunked", "Liger fused")


def measure() -> list[dict[str, Any]]:
    results = take({arm: peer("bench.divergence_peers", arm) for arm in ARMS}, turns=1)
    return [results[arm][0] for arm in ARMS]


def _loss(
    arm: str, hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor
) -> Tensor:
    if arm == "TRL chunked":
        from trl.trainer.distillation_trainer import _chunked_divergence_loss

        mask = torch.ones(1, TOKENS)
        loss, _, _ = _chunked_divergence_loss(
            hidden[None], teacher_hidden[None], weight, teacher_weight, mask, beta=1.0
        )
    else:
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        # Its β = 1 is reverse KL as well; weight 0 switches the cross-entropy off.
        fused = LigerFusedLinearJSDLoss(
            weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0, compiled=False
        )
        loss = fused(
            hidden, weight, teacher_hidden, teacher_weight, torch.zeros(TOKENS, dtype=torch.long)
        )
        loss = loss[0] if isinstance(loss, tuple) else loss
    return loss


def _run(arm: str) -> dict[str, Any]:
    hidden = torch.randn(TOKENS, HIDDEN).requires_grad_()
    weight = torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02).requires_grad_()
    teacher_hidden, teacher_weight = (
        torch.randn(TOKENS, HIDDEN),
        torch.empty(VOCABULARY, HIDDEN).normal_(std=0.02),
    )
    before, begin = start_counting(), time.process_time()
    loss = _loss(arm, hidden, weight, teacher_hidden, teacher_weight)
    loss.backward()
    cpu_seconds = time.process_time() - begin
    peak = (status("VmHWM") - before) / 2**20
    return {
        "divergence": "reverse KL",
        "by": arm,
        "tokens": TOKENS,
        "peak GiB above inputs": peak,
        "CPU s": cpu_seconds,
        "mean": loss.item(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(json.dumps(_run(sys.argv[1])))
