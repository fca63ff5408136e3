"""Inputs that once failed, and a few new ones, are read or refused; nothing is written elsewhere.

`python -m tests.fuzz` makes many more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import inputs, targets
from tests.fuzz.guard import Guard
from tests.fuzz.minimising import minimised

NEW_INPUTS = 6


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in targets.WITHOUT_DATABASE else pytest.mark.django_db)
        for name in targets.MODULES
    ],
)
def test_every_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    target = targets.load(name)
    stored = [(path.name, inputs.load(path)) for path in inputs.corpus_of(name)]
    new = [(f"new {n}", target.make(Random(n), target.seeds)) for n in range(NEW_INPUTS)]
    # No time: it depends on the machine.
    guard = Guard(tmp_path, timed=False)
    with target.open(tmp_path) as read:
        for label, input in [*stored, *new]:
            failure = guard.examine(read, input).failure
            assert failure is None, f"{label}: {failure.kind}\n{failure.text}"


def test_an_input_that_fails_is_made_as_small_as_possible() -> None:
    input = {"a": b"x" * 100 + b"bad" + b"y" * 50, "b": b"z"}
    small = minimised(input, lambda i: b"bad" in i.get("a", b""))
    assert small == {"a": b"bad"}


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda folder: (folder.parent.parent / "elsewhere").write_text("x"), "outside its folder"),
        (lambda folder: (folder.parent / "secret").read_text(), "outside its folder"),
        (lambda folder: (folder.parent.parent / "made").mkdir(), "outside its folder"),
        (lambda folder: os.environ["MISSING"], "KeyError"),
        (lambda folder: "x" * 20_000, "long message"),
        (lambda folder: "\ud800", "message that cannot be sent"),
        (lambda folder: str(len(bytearray(2**28))), "memory"),
        (lambda folder: (folder / "own").write_text("x") and "read", None),
    ],
)
def test_what_an_input_may_not_do_is_a_failure(
    tmp_path: Path, act: Callable[[Path], object], kind: str | None
) -> None:
    (tmp_path / "inside").mkdir()
    result = Guard(tmp_path / "inside", timed=False).examine(lambda _, folder: str(act(folder)), {})
    assert (result.failure and result.failure.kind) == kind
