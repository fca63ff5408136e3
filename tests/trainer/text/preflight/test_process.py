"""The command and its process: what it prints, its limits, and that it never imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.text.preflight.definitions import ROWS, definition
from tests.trainer.text.tiny import character_tokenizer, save_folder
from trainer.cli import main
from trainer.exit_codes import ExitCode
from trainer.text.preflight.findings import Finding, Report, read_report
from trainer.text.preflight.supervision import Limits, preflight

LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def written(folder: Path, spec: dict[str, Any]) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def test_a_run_that_is_right_ends_with_0_and_prints_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", str(written(tmp_path, definition(tmp_path)))]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["refused"], answer["complete"]) == (False, True)
    assert {finding["severity"] for finding in answer["findings"]} == {"fact"}


def test_a_refusal_ends_with_64_and_is_text_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*ROWS, {"question": "7’7=", "answer": "14"}]
    path = written(tmp_path, {"name": "mine", **definition(tmp_path, rows)})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["preflight", str(path)]) == ExitCode.REFUSED
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["mine cannot run:", "Refused:"]
    assert "no token for ’ (U+2019)" in lines[2]


@pytest.mark.parametrize("option", [["--sample", "0"], ["--seconds", "0"], ["--memory", "-1"]])
def test_limits_must_be_above_0(
    tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, definition(tmp_path))
    assert main(["preflight", str(path), *option]) == ExitCode.REFUSED
    assert "must be above 0" in capsys.readouterr().err


def test_an_invalid_definition_is_refused_as_by_validate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, {"sed": 1})
    assert main(["preflight", str(path)]) == ExitCode.REFUSED
    assert "did you mean seed" in capsys.readouterr().err


def test_the_process_imports_no_torch(tmp_path: Path) -> None:
    path = written(tmp_path, definition(tmp_path))
    script = (
        "import sys\n"
        "from trainer.text.preflight import __main__ as process\n"
        f"sys.argv = ['preflight', {str(path)!r}, '20', str(2**33)]\n"
        "process.main()\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'torch' and sys.modules[m]]\n"
        "assert sys.modules['transformers']\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {"done": True}


def test_the_command_itself_imports_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, trainer.cli, trainer.text.preflight.supervision\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_check_that_does_not_end_is_ended_and_says_so(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(chat_template=LOOP)
    student = save_folder(tmp_path / "student", tokenizer=tokenizer)
    path = written(tmp_path, definition(tmp_path, student=student))
    report = preflight(path, Limits(seconds=0.01))
    assert not report.is_complete
    finding = report.findings[-1]
    assert (finding.severity, finding.kind) == ("fact", "not_finished")
    assert "was ended after 0.01 s, while starting" in finding.sentence
    assert report.refused == []


def test_a_process_without_enough_memory_says_so(tmp_path: Path) -> None:
    report = preflight(written(tmp_path, definition(tmp_path)), Limits(memory=2**20))
    assert not report.is_complete
    assert report.findings[-1].kind == "not_finished"
    assert "0.000977 GiB of memory" in report.findings[-1].sentence


def test_an_incomplete_check_ends_with_70(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, definition(tmp_path))
    assert main(["preflight", str(path), "--seconds", "0.01"]) == ExitCode.FAILED
    assert json.loads(capsys.readouterr().out)["complete"] is False


def test_a_report_is_read_back_as_it_was_written() -> None:
    finding = Finding("warning", "ends", "networks.student.model", "Two ends.")
    report = Report((finding,), True, 1.25)
    assert read_report(json.dumps(report.to_json())) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"findings": [1]}', '{"findings": 1}'])
def test_anything_else_is_no_report(text: str) -> None:
    assert read_report(text) is None
