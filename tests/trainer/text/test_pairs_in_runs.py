"""Stages that learn from preference pairs in whole runs, resumed at every point."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.trainer.text.short_run import carried_out, column, short, trained_rows
from tests.trainer.text.test_resume import stop_after
from tests.trainer.text.tiny_run import end, events, final_hash, numbers, start
from trainer.engine.loop import Runtime
from trainer.spec import RunSpec
from trainer.text import run
from trainer.text.problems import arithmetic
from trainer.text.training import pair_answers, preference_stages

SAMPLING = {"max_new_tokens": 40}
WARM_UP = {
    "source": "teacher_written",
    "objective": {"kind": "cross_entropy"},
    "rollouts": {"generate": {"sampling": SAMPLING}},
    "optimiser": {"learning_rate": 0.003},
}


def pairs_stage(rejected: str = "student_before_stage", **changes: Any) -> dict[str, Any]:
    return {
        "source": "pairs",
        "objective": {"kind": "dpo"},
        "pairs": {"rejected": rejected},
        "rollouts": {"generate": {"per_problem": 2, "sampling": SAMPLING}},
        **changes,
    }


def definition(*stages: dict[str, Any], **changes: Any) -> RunSpec:
    return short(
        *stages, **{"checkpoints": {"every": 1}, "compute": {"generation_rows": 4}, **changes}
    )


def own_answers(folder: Path, checkpoint: str) -> list[int]:
    """The ids of the student's stored answers in a checkpoint of the first attempt."""
    path = folder / "attempts/1/checkpoints" / checkpoint / "pair_answers.safetensors"
    tensors = load_file(path)
    (name,) = [name for name in tensors if name.endswith("/rejected/ids")]
    return [int(id) for id in tensors[name]]


def test_a_stage_begins_at_ln_2_and_tells_its_pairs_apart_afterwards(tmp_path: Path) -> None:
    # So many problems that each step has every pair at least once.
    stage = pairs_stage(problems_per_step=16, until={"steps": 6})
    folder = carried_out(definition(stage), tmp_path)
    losses, accuracies = column(folder, "loss"), column(folder, "pairs/accuracy")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < 0.9 * losses[0] and accuracies[-1] > 0.9
    (count,), (left_out,) = column(folder, "pairs/count"), column(folder, "pairs/left_out")
    assert count + left_out == 32
    (sentence,) = [
        event["message"] for event in events(folder, "log") if "pairs" in event["message"]
    ]
    assert sentence.startswith(f"The stage learns from {count:.0f} pairs.")


def test_the_reference_is_the_student_as_the_stage_begins(tmp_path: Path) -> None:
    """After a warm-up too the first step has a margin of 0."""
    stages = WARM_UP, pairs_stage("student_before_run")
    folder = carried_out(definition(*stages), tmp_path)
    assert column(folder, "loss")[3] == pytest.approx(math.log(2), abs=1e-5)
    assert column(folder, "pairs/margin")[0] == pytest.approx(0, abs=1e-5)
    assert column(folder, "pairs/margin")[1] != pytest.approx(0, abs=1e-5)


def test_answers_from_before_the_run_are_those_of_the_untrained_student(tmp_path: Path) -> None:
    before = carried_out(definition(WARM_UP, pairs_stage("student_before_run")), tmp_path / "run")
    untrained = carried_out(definition(pairs_stage()), tmp_path / "untrained")
    warm = carried_out(definition(WARM_UP, pairs_stage()), tmp_path / "warm")
    own = own_answers(before, "step-00000006")
    assert own == own_answers(untrained, "step-00000003")
    assert own != own_answers(warm, "step-00000006")


@pytest.mark.parametrize("rejected", ["student_before_run", "student_before_stage"])
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_run_that_is_stopped_around_the_beginning_of_the_stage_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rejected: str, stop: int
) -> None:
    settings = definition(WARM_UP, pairs_stage(rejected))
    uninterrupted, resumed = carried_out(settings, tmp_path / "whole"), tmp_path / "parts"
    stop_after(stop, monkeypatch)
    assert start(settings, resumed) == 75
    monkeypatch.undo()
    assert run.resume(resumed) == 0
    assert numbers(resumed) == numbers(uninterrupted)
    assert final_hash(resumed) == final_hash(uninterrupted)


def stop_while_writing(part: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ask the run to stop in that part of its own answers; return how many each part sampled."""
    original, parts = pair_answers.write_own_answers, list[int]()

    def write(*arguments: Any) -> None:
        store, rt = arguments[4], arguments[5]
        before = len(store.by_index)
        if len(parts) == part:
            Runtime.request_stop(rt, "asked in the test")
        original(*arguments)
        parts.append(len(store.by_index) - before)

    monkeypatch.setattr(preference_stages, "write_own_answers", write)
    return parts


def test_own_answers_that_are_interrupted_are_continued_and_none_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = definition(WARM_UP, pairs_stage())
    uninterrupted, resumed = carried_out(settings, tmp_path / "whole"), tmp_path / "parts"
    monkeypatch.setattr(Runtime, "progress", Runtime.emit_progress)
    first = stop_while_writing(2, monkeypatch)
    assert start(settings, resumed) == 75
    assert first == [2, 2, 2]
    monkeypatch.undo()
    second = stop_while_writing(-1, monkeypatch)
    assert run.resume(resumed) == 0
    assert second == [2, 2, 2, 2, 2]
    monkeypatch.undo()
    assert numbers(resumed) == numbers(uninterrupted)
    assert final_hash(resumed) == final_hash(uninterrupted)


def test_rows_of_a_file_are_pairs_and_no_answer_is_written(tmp_path: Path) -> None:
    problems = arithmetic.make(("add", "sub"), (1, 2), 16, 1)
    rows = [
        {"question": problem.question, "good": f"{prefix}>{problem.answer}", "bad": f"{prefix}>0"}
        for problem in problems
        for prefix in ("", "1+1")
    ]
    # Two rows with nothing to choose between.
    rows[0]["bad"], rows[1]["bad"] = rows[0]["good"], ""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = {"kind": "texts", "path": f"file:{path}", "response": "good", "rejected": "bad"}
    folder = carried_out(
        definition(pairs_stage("column"), networks={"teacher": teacher}), tmp_path / "run"
    )
    (count,), (left_out,) = column(folder, "pairs/count"), column(folder, "pairs/left_out")
    same = sum(problem.answer == "0" for problem in problems)
    assert (count, left_out) == (30 - 2 * same, 2 + 2 * same)
    recorded = trained_rows(folder, 1)
    written = {(row["question"], row["good"], row["bad"]) for row in rows}
    for number, (chosen, rejected) in enumerate(zip(recorded[::2], recorded[1::2], strict=True)):
        assert (chosen["question"], chosen["text"], rejected["text"]) in written
        assert (chosen["pair"], chosen["side"]) == (number, "chosen")
        assert (rejected["pair"], rejected["side"]) == (number, "rejected")
    assert not column(folder, "own_answers/pass_rate")


def test_solutions_are_chosen_answers(tmp_path: Path) -> None:
    stage = pairs_stage(pairs={"chosen": "solutions", "rejected": "student_before_run"})
    folder = carried_out(definition(stage), tmp_path)
    solutions = {
        problem.question: problem.solution
        for problem in arithmetic.make(("add", "sub"), (1, 2), 16, 1)
    }
    recorded = trained_rows(folder, 1)
    assert recorded
    for chosen, rejected in zip(recorded[::2], recorded[1::2], strict=True):
        assert chosen["text"] == solutions[chosen["question"]]
        assert rejected["source"] == "student"
    assert not column(folder, "teacher/pass_rate")


def test_a_stage_without_any_pair_ends_the_run_with_the_reasons(tmp_path: Path) -> None:
    stage = pairs_stage(rollouts={"generate": {"sampling": {"max_new_tokens": 2}}})
    folder = carried_out(definition(stage), tmp_path)
    assert (
        "learns from 0 pairs. 16 are left out (the chosen answer was cut: 16)"
        in (end(folder)["reason"])
    )
