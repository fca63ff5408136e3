"""A declaration that is not complete is refused with its file, its class and what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trainer.spec import Objective
from trainer.spec.mechanisms import DeclarationError, choices

COMPLETE = '''
from typing import Literal

from trainer.spec.objectives.objective import Objective


class MadeUp(Objective):
    """A made-up loss."""

    kind: Literal["made_up"] = "made_up"
    function = "trainer.text.objectives.cross_entropy:loss"
    needs = frozenset()

    def describe(self) -> str:
        return "a made-up loss"
'''
DESCRIPTION = COMPLETE[COMPLETE.index("    def describe") :]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "made_up_objectives"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_a_complete_declaration_is_found_by_its_file_alone(package: Path) -> None:
    (package / "one.py").write_text(COMPLETE)
    assert choices(package.name, Objective).__name__ == "MadeUp"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ('= "made_up"', '= "other"', "another as its Literal"),
        ('    """A made-up loss."""\n', "", "no docstring"),
        (DESCRIPTION, "", r"no describe\(\)"),
        ("    needs = frozenset()\n", "", "does not declare needs"),
        ('"trainer.text.objectives.cross_entropy:loss"', '"loss"', "write package.module:name"),
    ],
)
def test_an_incomplete_declaration_is_refused(
    package: Path, written: str, instead: str, message: str
) -> None:
    assert written in COMPLETE
    (package / "one.py").write_text(COMPLETE.replace(written, instead))
    with pytest.raises(DeclarationError, match=rf"one\.py: MadeUp .*{message}"):
        choices(package.name, Objective)


def test_one_kind_cannot_be_declared_twice(package: Path) -> None:
    (package / "one.py").write_text(COMPLETE)
    (package / "two.py").write_text(COMPLETE)
    with pytest.raises(DeclarationError, match=r"two\.py: MadeUp has the kind made_up, .*one"):
        choices(package.name, Objective)
