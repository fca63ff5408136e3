"""Base students: one for each seed of a run, made once, stored as its plan says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trainer import cli
from trainer.experiments import bases


@pytest.fixture(autouse=True)
def tiny_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bases with networks of a few hundred weights and two steps of training."""
    for name, base in bases.BASES.items():
        plan = replace(base.plan, hidden=8, layers=1, heads=1, steps=2, horizon=2, batch=8)
        files = {file: lambda: iter([{"id": "1"}]) for file in base.files}
        monkeypatch.setitem(bases.BASES, name, replace(base, plan=plan, files=files))


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def is_same(first: Path, second: Path) -> bool:
    return all(torch.equal(weights(first)[key], weights(second)[key]) for key in weights(first))


def test_a_base_is_made_once_with_its_files(tmp_path: Path) -> None:
    base_folder = bases.make("misreading", 3, tmp_path)
    assert base_folder == tmp_path / "misreading-3"
    assert {"config.json", "model.safetensors", "tokenizer.json", "problems.jsonl"} <= {
        path.name for path in base_folder.iterdir()
    }
    before = (base_folder / "model.safetensors").stat().st_mtime_ns
    assert bases.make("misreading", 3, tmp_path) == base_folder
    assert (base_folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_command_line_makes_a_base_and_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = bases.BASES["student"]
    plan = replace(tiny.plan, steps=100, horizon=100, batch=4)
    monkeypatch.setitem(bases.BASES, "student", replace(tiny, plan=plan))
    assert cli.main(["base", "student", "--seed", "3", "--dir", str(tmp_path)]) == 0
    assert (tmp_path / "bases" / "student-3" / "model.safetensors").is_file()
    # The form in which a worker reads the progress.
    assert "student-3: step 100 of 100, loss " in capsys.readouterr().out


def test_each_seed_has_a_student_of_its_own_and_the_same_each_time(tmp_path: Path) -> None:
    first, search = (bases.make("hinted", seed, tmp_path / "once") for seed in (0, 100))
    again = bases.make("hinted", 0, tmp_path / "again")
    assert is_same(first, again) and not is_same(first, search)


def test_the_data_files_of_a_base_are_the_same_for_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(bases.BASES["misreading"], files={"p.jsonl": bases.misread_problems})
    monkeypatch.setitem(bases.BASES, "misreading", tiny)
    first, second = (bases.make("misreading", seed, tmp_path) for seed in (0, 1))
    rows = (first / "p.jsonl").read_text()
    assert rows == (second / "p.jsonl").read_text() and len(rows.splitlines()) == bases.PROBLEMS


def test_the_base_student_is_the_built_in_one_with_another_seed(tmp_path: Path) -> None:
    made = bases.make("student", 0, tmp_path)
    assert {tensor.dtype for tensor in weights(made).values()} == {torch.float16}
    # The type that it is loaded with follows from this.
    builtin = Path(bases.__file__).parents[1] / "text" / "builtin" / "student" / "config.json"
    configs = [json.loads(path.read_text()) for path in (made / "config.json", builtin)]
    assert configs[0]["dtype"] == configs[1]["dtype"] == "float16"


def test_an_unknown_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        KeyError, match="there is no base hintd; there is student, hinted, confident, misreading"
    ):
        bases.make("hintd", 0, tmp_path)
