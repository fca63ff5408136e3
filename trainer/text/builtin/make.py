"""Make the built-in pair again: `python -m trainer.text.builtin.make [--out FOLDER]`.

Seeds, curricula and step counts are below, so that the same machine kind makes the same weights.
Stored as fp16, 1.7 MB in all. The teacher gets levels 1 and 2 until it is sure of them; the student
gets mostly level 1 and stops at 80 % of its schedule. Both see a little of level 3: enough
to know what an answer looks like there, too little to get many right. `word` is the skill outside
the pool with which forgetting is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from trainer.text.builtin.pretrain import Pretraining, train
from trainer.text.builtin.tokenizer import build
from trainer.text.problems.arithmetic import POOL_FAMILIES


def curriculum(
    easy: float, middle: float, hard: float, word_problems: float
) -> tuple[tuple[str, int, float], ...]:
    """(family, level, share) for the pool's families at levels 1, 2, 3 and for `word` at 1."""
    shares = ((1, easy), (2, middle), (3, hard))
    return (
        *((family, level, share) for family in POOL_FAMILIES for level, share in shares),
        ("word", 1, word_problems),
    )


PLANS = {
    "teacher": Pretraining(
        hidden=128,
        layers=3,
        heads=4,
        curriculum=curriculum(1, 2.5, 0.15, 1),
        steps=1600,
        horizon=1600,
        batch=64,
    ),
    "student": Pretraining(
        hidden=64,
        layers=3,
        heads=2,
        curriculum=curriculum(3, 1, 0.1, 3.5),
        steps=760,
        horizon=950,
        batch=64,
        seed=1,
    ),
}


def make(name: str, out: Path) -> None:
    """Train one of PLANS and write its folder: config, fp16 safetensors, tokenizer."""
    tokenizer, plan = build(), PLANS[name]
    network = train(
        plan,
        tokenizer,
        lambda step, loss: print(
            f"{name}: step {step} of {plan.steps}, loss {loss:.3f}", flush=True
        ),
    )
    network.half().save_pretrained(out / name)
    tokenizer.save_pretrained(out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the built-in teacher and student.")
    parser.add_argument(
        "names", nargs="*", default=list(PLANS), help="teacher, student (default: both)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="where the folders are written"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        make(name, options.out)


if __name__ == "__main__":
    main()
