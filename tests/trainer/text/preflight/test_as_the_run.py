"""The preflight refuses what the run refuses before its first step, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.text.preflight.definitions import ROWS, definition, findings, of
from tests.trainer.text.preflight.tokenizers import unknown_tokenizer, with_row, with_tokenizer
from tests.trainer.text.tiny import CHARACTERS, character_tokenizer, save_folder
from tests.trainer.text.tiny_run import events
from trainer.exit_codes import ExitCode
from trainer.text.run import start

Change = Callable[[Path], dict[str, Any]]


def other_teacher(folder: Path) -> dict[str, Any]:
    tokenizer = character_tokenizer(CHARACTERS[::-1])
    model = save_folder(folder / "other", tokenizer=tokenizer)
    return definition(folder, teacher={"kind": "model", "model": f"file:{model}"})


def failing_template(folder: Path) -> dict[str, Any]:
    tokenizer = character_tokenizer(chat_template="{{ raise_exception('no') }}")
    return definition(folder, student=with_tokenizer(folder, tokenizer))


def unreadable_references(folder: Path) -> dict[str, Any]:
    return definition(folder, held_out=[{"question": "1-1=", "answer": "blue"}])


@pytest.mark.parametrize(
    ("change", "common"),
    [
        (definition, ""),
        (lambda folder: definition(folder, with_row(question="7’7=")), "’ (U+2019)"),
        (
            lambda folder: definition(
                folder,
                with_row(question="7’7="),
                student=with_tokenizer(folder, unknown_tokenizer()),
            ),
            "’ (U+2019)",
        ),
        (lambda folder: definition(folder, with_row(question="7" * 113)), "113 tokens and an"),
        (lambda folder: definition(folder, with_row(answer="14 €")), ""),
        (other_teacher, "have different tokenizers"),
        (failing_template, "cannot format “"),
        (unreadable_references, "cannot read 1 of 1 held-out reference answers"),
        (lambda folder: definition(folder, held_out=[ROWS[0]]), "are training problems too"),
    ],
)
def test_a_run_ends_as_its_preflight_says(tmp_path: Path, change: Change, common: str) -> None:
    spec = change(tmp_path)
    spec["pool"] = {**spec["pool"], "estimate": "never", "weighting": {"kind": "uniform"}}
    spec["evaluation"] = {**spec["evaluation"], "every": 0, "final_samples": 1, "pass_at": [1]}
    refused = of(findings(spec), "refused")
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    code = start(path, tmp_path / "run")
    [end] = events(tmp_path / "run", "end")
    assert code == (ExitCode.REFUSED if common else ExitCode.COMPLETED), end
    assert bool(refused) is bool(common)
    if common:
        assert common in end["reason"]
        assert any(common in sentence for _, _, sentence in refused)
