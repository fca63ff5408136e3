"""The students that experiments start from, trained from scratch: `base:<name>` in a definition.

Each seed of an experiment has a student of its own, because what a method does to one student may
not hold for the next: the seed of its weights and of its examples is FIRST_SEED + the run's seed.
Its data files are the same for every seed; they are pools from which `data.train.seed` draws.

Like the built-in student their training stops early, so that they have not yet learned what the run
will teach.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainer.experiments.base_lessons import SURE, Hinted, is_misread, misread
from trainer.experiments.folders import base_folder
from trainer.text.builtin.make import PLANS
from trainer.text.builtin.pretrain import Lesson, Pretraining, train
from trainer.text.builtin.tokenizer import build
from trainer.text.problems.arithmetic import POOL_FAMILIES
from trainer.text.problems.arithmetic import make as make_problems
from trainer.text.problems.records import Problem

# Column arithmetic, the only families whose questions have one second number to misread.
COLUMN_FAMILIES = ("add", "sub")
PROBLEMS = 3000
# Far from the seeds of runs and problems, so that no base is trained with numbers that they draw.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Base:
    """The training plan of a student, and its data files as name → rows.

    `half` stores it in fp16, as the built-in student is.
    """

    plan: Pretraining
    files: dict[str, Callable[[], Iterator[dict[str, str]]]]
    half: bool = False


def _plan(
    families: tuple[str, ...], easy: float, middle: float, lesson: Lesson, steps: int, horizon: int
) -> Pretraining:
    levels = ((1, easy), (2, middle))
    curriculum = (
        *((family, level, share) for family in families for level, share in levels),
        # A skill that no experiment trains, to measure what is forgotten.
        ("word", 1, 0.5),
    )
    return Pretraining(64, 3, 2, curriculum, steps=steps, horizon=horizon, batch=64, lesson=lesson)


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


# Each name stands for one way to train: a base that was made for a seed is not made again, so
# another way needs another name.
# Steps below the horizon: the training stops before the learning rate has decayed, as that of the
# built-in student does, so that distillation finds something to improve.
BASES = {
    # The built-in student with other seeds.
    "student": Base(PLANS["student"], {}, half=True),
    "hinted": Base(_plan(POOL_FAMILIES, 2.0, 1.5, Hinted(0.6, 0.6), 900, 1100), {}),
    "confident": Base(
        _plan(POOL_FAMILIES, 2.0, 1.5, Hinted(0.5, 0.3, sure=0.6), 900, 1100),
        {"problems.jsonl": sure_problems},
    ),
    "misreading": Base(
        _plan(COLUMN_FAMILIES, 2.0, 1.0, misread, 600, 760),
        {"problems.jsonl": misread_problems},
    ),
}


def known(name: str) -> Base:
    """The base of that name. Raises KeyError, which lists the names, if there is none."""
    if name not in BASES:
        raise KeyError(f"there is no base {name}; there is {', '.join(BASES)}")
    return BASES[name]


def make(
    name: str, seed: int, folder: Path, report: Callable[[str], None] = lambda line: None
) -> Path:
    """The folder of a base made for a run's seed, trained if it does not exist.

    It holds model, tokenizer and data files. Raises KeyError for an unknown name.
    """
    base, target = known(name), base_folder(folder, name, seed)
    if not target.exists():
        # Renamed when complete, so that an interrupted training leaves no half-made base.
        incomplete = target.with_name(f".{target.name}")
        shutil.rmtree(incomplete, ignore_errors=True)
        _write(target.name, base, FIRST_SEED + seed, incomplete, report)
        incomplete.rename(target)
    return target


def _write(label: str, base: Base, seed: int, folder: Path, report: Callable[[str], None]) -> None:
    # Sums over another number of threads round differently, and a base must come out the same.
    torch.set_num_threads(1)
    tokenizer, plan = build(), replace(base.plan, seed=seed)

    def after_step(step: int, loss: float) -> None:
        if step % 100 == 0:
            report(f"{label}: step {step} of {plan.steps}, loss {loss:.3f}")

    network = train(plan, tokenizer, after_step)
    if base.half:
        network = network.half()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file, rows in base.files.items():
        (folder / file).write_text(
            "".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8"
        )
