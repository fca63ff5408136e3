"""A run that cannot continue ends with a reason, a remedy and its exit code.

It never loses the last good checkpoint.
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import end, events, spec, start
from trainer.engine import checkpoints
from trainer.engine.outcome import Failure
from trainer.exit_codes import ExitCode
from trainer.spec import to_yaml
from trainer.text import run
from trainer.text.rollouts import answers
from trainer.text.training.micro_batch_loss import MicroBatchLoss


def ended(folder: Path, *phrases: str) -> None:
    """Assert that the run failed with these phrases in reason or remedy."""
    last = end(folder)
    assert last["outcome"] == "failed"
    sentence = f"{last['reason']} {last['remedy']}"
    assert all(phrase in sentence for phrase in phrases), sentence
    assert last["remedy"]


def refused(folder: Path, definition: str | bytes) -> str:
    path = folder / "definition.yaml"
    path.write_bytes(definition if isinstance(definition, bytes) else definition.encode())
    assert run.start(path, folder) == ExitCode.REFUSED
    assert end(folder)["outcome"] == "failed"
    return str(end(folder)["reason"])


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (
            "pool: {weighting: {kind: paced, alpha: -1}}\nstages: [{name: a}]",
            "pool.weighting.alpha",
        ),
        ("pool: {rollouts_per_problem: 0}\nstages: [{name: a}]", "pool.rollouts_per_problem"),
        ("stagse: []", "stagse"),
        ("", "empty"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_definition_that_is_wrong_is_refused_by_name(
    tmp_path: Path, text: str | bytes, phrase: str
) -> None:
    assert phrase in refused(tmp_path, text)


def test_a_missing_definition_is_reported(tmp_path: Path) -> None:
    assert run.start(tmp_path / "nowhere.yaml", tmp_path) == ExitCode.REFUSED
    ended(tmp_path, "no run definition", "nowhere.yaml")


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "attempts/1/events").mkdir(parents=True)
    (tmp_path / "attempts/1/events/000001.jsonl").write_text('{"seq":1}\n')
    (tmp_path / "definition.yaml").write_text(to_yaml(spec()))
    assert run.start(tmp_path / "definition.yaml", tmp_path, attempt=2) == ExitCode.REFUSED
    assert "already holds a run" in end(tmp_path, attempt=2)["reason"]


def test_a_model_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tiny.save_folder(tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert (
        start(spec(networks={"student": {"model": f"file:{folder}"}}), tmp_path / "run")
        == ExitCode.REFUSED
    )
    ended(tmp_path / "run", "tokenizer")


def test_a_student_with_another_tokenizer_than_the_teacher_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny.character_tokenizer(tiny.CHARACTERS[::-1])
    student = tiny.save_folder(tmp_path / "other", tokenizer=tokenizer)
    teacher = tiny.save_folder(tmp_path / "teacher", seed=1)
    networks = {"student": {"model": f"file:{student}"}, "teacher": {"model": f"file:{teacher}"}}
    assert start(spec(networks=networks), tmp_path / "run") == ExitCode.REFUSED
    ended(tmp_path / "run", "different tokenizers")


def test_answers_longer_than_the_model_reads_are_refused(tmp_path: Path) -> None:
    sampling = {"max_new_tokens": 100_000}
    assert start(spec(evaluation={"sampling": sampling}), tmp_path) == ExitCode.REFUSED
    ended(tmp_path, "do not fit", "Lower the longest answer")


def test_held_out_problems_that_are_trained_on_are_refused_by_name(tmp_path: Path) -> None:
    same = {
        "kind": "arithmetic",
        "families": ["add", "sub"],
        "levels": [1, 2],
        "count": 16,
        "seed": 1,
    }
    assert start(spec(data={"evaluation": same}), tmp_path) == ExitCode.REFUSED
    ended(tmp_path, "training problems too", "add-")


def test_held_out_problems_that_cannot_be_judged_are_refused_with_examples(
    tmp_path: Path,
) -> None:
    # Numbers are no letters of a choice.
    assert start(spec(data={"verifier": {"kind": "choice"}}), tmp_path) == ExitCode.REFUSED
    ended(tmp_path, "The verifier choice cannot read", "held-out reference answers, such as")


def poison_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = MicroBatchLoss.__call__, iter(range(10_000))

    def poisoned(*arguments: Any) -> Any:
        loss, statistics = original(*arguments)
        return (loss * torch.nan if next(calls) >= step else loss), statistics

    monkeypatch.setattr(MicroBatchLoss, "__call__", poisoned)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_after(3, monkeypatch)
    assert start(spec(), tmp_path) == ExitCode.NOT_A_NUMBER
    ended(tmp_path, "At step 4 the loss is nan", "checkpoint is that of step 3", "learning rate")
    newest = checkpoints.list_folders(tmp_path / "attempts/1/checkpoints")[0]
    assert all(
        torch.isfinite(tensor).all()
        for tensor in checkpoints.load(newest).tensors["student"].values()
    )


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("can't allocate memory: 9 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_running_out_of_memory_names_the_settings_that_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(answers, "sample", fail)
    assert start(spec(), tmp_path) == ExitCode.FAILED
    ended(tmp_path, "memory", "micro_batch_tokens", "generation_rows")


def test_an_unexpected_error_leaves_its_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(answers, "sample", fail)
    assert start(spec(), tmp_path) == ExitCode.FAILED
    ended(tmp_path, "KeyError", "test_failures.py")
    assert "Traceback" in next(
        event["message"] for event in events(tmp_path, "log") if event["level"] == "error"
    )


def test_an_expected_failure_logs_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise Failure("The teacher cannot be reached.", "Resume the run once it answers.")

    monkeypatch.setattr(answers, "sample", fail)
    assert start(spec(), tmp_path) == ExitCode.FAILED
    ended(tmp_path, "The teacher cannot be reached.", "Resume the run")
    assert "Traceback" not in capsys.readouterr().err
    assert not [event for event in events(tmp_path, "log") if event["level"] == "error"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit files to `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_the_run_with_a_reason_and_its_exit_code(tmp_path: Path) -> None:
    with largest_file(200_000):
        assert start(spec(), tmp_path) == ExitCode.DISK_FULL
    ended(tmp_path, "checkpoint of step 0 could not be written", "Free some space")
    assert checkpoints.list_folders(tmp_path / "attempts/1/checkpoints") == []


def test_a_full_disk_stops_the_run_before_an_event_is_lost(tmp_path: Path) -> None:
    with largest_file(6_000):
        assert start(spec(), tmp_path) == ExitCode.DISK_FULL
    sequence_numbers = [event["seq"] for event in events(tmp_path)]
    assert sequence_numbers == list(range(1, len(sequence_numbers) + 1))


def test_a_read_only_folder_is_reported_on_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "attempts").write_text("a file where a folder must be")
    assert run.resume(tmp_path, attempt=1) == ExitCode.DISK_FULL
    assert "cannot be created" in capsys.readouterr().err


def test_resuming_where_there_is_no_run_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "attempts", ignore_errors=True)
    assert run.resume(tmp_path) == ExitCode.REFUSED
    ended(tmp_path, "no run definition")
