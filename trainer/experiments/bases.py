"""The students that experiments begin with, made from nothing: `base:<name>` in an experiment's
definition.

Each takes one to four CPU-minutes, once for each folder of experiments. Like the built-in student
they are broken off before they are settled: what a run is to teach must not be known yet.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.experiments.lessons import SURE, Hinted, is_misread, misread
from trainer.text.builtin.pretrain import Lesson, Pretraining, train
from trainer.text.builtin.tokenizer import build
from trainer.text.problems.arithmetic import POOL_FAMILIES
from trainer.text.problems.arithmetic import make as make_problems
from trainer.text.problems.records import Problem

COLUMN_FAMILIES = ("add", "sub")
PROBLEMS = 3000


@dataclass(frozen=True)
class Base:
    """How a student is trained, and the data files that belong to it, as name → rows."""

    plan: Pretraining
    files: dict[str, Callable[[], Iterator[dict[str, str]]]]


def _plan(
    families: tuple[str, ...], easy: float, middle: float, lesson: Lesson, steps: int, horizon: int
) -> Pretraining:
    levels = ((1, easy), (2, middle))
    curriculum = (
        *((family, level, share) for family in families for level, share in levels),
        ("word", 1, 0.5),
    )
    return Pretraining(
        64, 3, 2, curriculum, steps=steps, horizon=horizon, batch=64, seed=1, lesson=lesson
    )


def misread_problems() -> Iterator[dict[str, str]]:
    """Additions and subtractions whose domain says whether the student was taught to misread
    them.
    """
    for problem in _problems(COLUMN_FAMILIES):
        yield _row(problem) | {"domain": "misread" if is_misread(problem) else "read well"}


def sure_problems() -> Iterator[dict[str, str]]:
    """Problems whose worked solutions state full confidence, as a demonstration does."""
    for problem in _problems(POOL_FAMILIES):
        yield _row(problem) | {"solution": problem.solution + SURE, "domain": problem.domain}


def _problems(families: tuple[str, ...]) -> list[Problem]:
    """Different problems of levels 1 and 2, the same ones each time."""
    return make_problems(families, (1, 2), PROBLEMS, seed=20)


def _row(problem: Problem) -> dict[str, str]:
    row = {"id": problem.id, "question": problem.question, "answer": problem.answer}
    return row | {"solution": problem.solution, "difficulty": problem.difficulty}


BASES = {
    "hinted": Base(_plan(POOL_FAMILIES, 2.0, 1.5, Hinted(0.6, 0.6), 900, 1100), {}),
    "confident": Base(
        _plan(POOL_FAMILIES, 2.0, 1.5, Hinted(0.5, 0.3, sure=0.6), 900, 1100),
        {"problems.jsonl": sure_problems},
    ),
    "misreading": Base(
        _plan(COLUMN_FAMILIES, 2.0, 1.0, misread, 600, 760), {"problems.jsonl": misread_problems}
    ),
}


def make(name: str, folder: Path, report: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of a base below `folder`: model, tokenizer and data files; made unless it is
    there. Raises KeyError for a name unknown.
    """
    made = folder / name
    if name not in BASES:
        raise KeyError(f"there is no base {name}; there is {', '.join(BASES)}")
    if not made.exists():
        scratch = folder / f".{name}"
        shutil.rmtree(scratch, ignore_errors=True)
        _write(name, BASES[name], scratch, report)
        scratch.rename(made)
    return made


def _write(name: str, base: Base, folder: Path, report: Callable[[str], None]) -> None:
    torch.set_num_threads(1)
    tokenizer = build()

    def after_step(step: int, loss: float) -> None:
        if step % 100 == 0:
            report(f"{name}: step {step} of {base.plan.steps}, loss {loss:.3f}")

    train(base.plan, tokenizer, after_step).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file, rows in base.files.items():
        (folder / file).write_text(
            "".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8"
        )
