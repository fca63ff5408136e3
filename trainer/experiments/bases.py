"""The students that experiments start from, trained from incomplete: `base:<name>` in a definition.

Each takes one to four CPU-minutes, once per folder of experiments. Like the built-in student their
training stops early, so that they have not yet learned what the run will teach.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.experiments.base_lessons import SURE, Hinted, is_misread, misread
from trainer.text.builtin.pretrain import Lesson, Pretraining, train
from trainer.text.builtin.tokenizer import build
from trainer.text.problems.arithmetic import POOL_FAMILIES
from trainer.text.problems.arithmetic import make as make_problems
from trainer.text.problems.records import Problem

# Column arithmetic, the only families whose questions have one second number to misread.
COLUMN_FAMILIES = ("add", "sub")
PROBLEMS = 3000


@dataclass(frozen=True)
class Base:
    """The training plan of a student, and its data files as name → rows."""

    plan: Pretraining
    files: dict[str, Callable[[], Iterator[dict[str, str]]]]


def _plan(
    families: tuple[str, ...], easy: float, middle: float, lesson: Lesson, steps: int, horizon: int
) -> Pretraining:
    levels = ((1, easy), (2, middle))
    curriculum = (
        *((family, level, share) for family in families for level, share in levels),
        # A skill that no experiment trains, to measure what is forgotten.
        ("word", 1, 0.5),
    )
    return Pretraining(
        64, 3, 2, curriculum, steps=steps, horizon=horizon, batch=64, seed=1, lesson=lesson
    )


def misread_problems() -> Iterator[dict[str, str]]:
    """Additions and subtractions; the domain says whether the student was taught to misread it."""
    for problem in _problems(COLUMN_FAMILIES):
        yield _row(problem) | {"domain": "misread" if is_misread(problem) else "read well"}


def sure_problems() -> Iterator[dict[str, str]]:
    """Problems whose worked solutions state full confidence."""
    for problem in _problems(POOL_FAMILIES):
        yield _row(problem) | {"solution": problem.solution + SURE, "domain": problem.domain}


def _problems(families: tuple[str, ...]) -> list[Problem]:
    """Distinct problems of levels 1 and 2, the same at each call."""
    # Level 3 is left out: no student of this size ever solves it.
    return make_problems(families, (1, 2), PROBLEMS, seed=20)


def _row(problem: Problem) -> dict[str, str]:
    return {
        "id": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "solution": problem.solution,
        "difficulty": problem.difficulty,
    }


# Steps below the horizon: the training stops before the learning rate has decayed, as that of the
# built-in student does, so that distillation finds something to improve.
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
    """The folder of a base student (model, tokenizer, data files), trained if it does not exist.

    Raises KeyError for an unknown name.
    """
    base_folder = folder / name
    if name not in BASES:
        raise KeyError(f"there is no base {name}; there is {', '.join(BASES)}")
    if not base_folder.exists():
        # Renamed when complete, so that an interrupted training leaves no half-made base.
        incomplete = folder / f".{name}"
        shutil.rmtree(incomplete, ignore_errors=True)
        _write(name, BASES[name], incomplete, report)
        incomplete.rename(base_folder)
    return base_folder


def _write(name: str, base: Base, folder: Path, report: Callable[[str], None]) -> None:
    # Sums over another number of threads round differently, and a base must come out the same.
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
