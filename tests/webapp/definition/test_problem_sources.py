"""The problems of an open form are read in a child, and only if the problems have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.webapp import conftest
from tests.webapp.conftest import still  # noqa: F401
from tests.webapp.library import hostile_children
from trainer.spec import RunSpec, load
from webapp.access.models import Team
from webapp.definition import problem_sources
from webapp.library import bounded_process

pytestmark = pytest.mark.django_db
MIB = 2**20
EXPANDING = '{"question": [' + "[]," * 1_500_000 + '1], "answer": "1"}\n'


def spec_with(path: Path, **changes: Any) -> RunSpec:
    data = {"train": {"kind": "file", "path": f"file:{path}"}}
    return load({**conftest.SPEC, "data": data, **changes})


@pytest.fixture
def file(tmp_path: Path, settings: Any) -> Path:
    settings.STILLROOM_FILE_ROOTS = (tmp_path,)
    return tmp_path / "sums.jsonl"


def test_a_file_that_expands_costs_the_server_nothing(
    still: Team,  # noqa: F811
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may need longer than a page waits.
    monkeypatch.setattr(problem_sources, "SECONDS", 120.0)
    file.write_text(EXPANDING)
    before = hostile_children.peak_memory()
    [issue] = problem_sources.check(spec_with(file), still).issues
    assert "holds a list or a group of values" in issue.message
    assert hostile_children.peak_memory() - before < 50 * MIB


def test_a_file_that_takes_too_long_is_left_to_the_run(
    still: Team,  # noqa: F811
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(problem_sources, "SECONDS", 0.0)
    file.write_text('{"question": "1+1", "answer": "2"}\n')
    report = problem_sources.check(spec_with(file), still)
    assert (report.issues, report.is_complete) == ([], False)
    # That is not remembered.
    monkeypatch.setattr(problem_sources, "SECONDS", 60.0)
    assert problem_sources.check(spec_with(file), still).counts == {"train": 1}


def test_problems_are_read_again_only_if_they_have_changed(
    still: Team,  # noqa: F811
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file.write_text('{"question": "1+1", "answer": "2"}\n')
    assert problem_sources.check(spec_with(file), still).counts == {"train": 1}
    with monkeypatch.context() as patch:
        patch.setattr(bounded_process, "for_page", None)
        assert problem_sources.check(spec_with(file, seed=7), still).counts == {"train": 1}
    file.write_text('{"question": "1+1", "answer": "2"}\n{"question": "1+2", "answer": "3"}\n')
    os.utime(file, ns=(1, 1))
    assert problem_sources.check(spec_with(file), still).counts == {"train": 2}
    file.write_text('{"question": "1+1"}\n')
    [issue] = problem_sources.check(spec_with(file), still).issues
    assert issue.path == "data.train.path" and "sums.jsonl" in issue.message
