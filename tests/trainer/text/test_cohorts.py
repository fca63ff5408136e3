"""A cohort is trained on without its references; the evaluation alone reads them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.short_run import carried_out, column, short, trained_rows
from tests.trainer.text.test_resume import stop_after
from tests.trainer.text.tiny_run import events, final_hash, numbers, start
from trainer.explain import explain
from trainer.spec import RunSpec, issues_in, to_dict
from trainer.text import run
from trainer.text.problems import ProblemError, arithmetic, load_all

VOTE = {
    "objective": {"kind": "grpo"},
    "rollouts": {
        "filter": {"kind": "vote"},
        "generate": {"per_problem": 4, "sampling": {"max_new_tokens": 40}},
    },
    "optimiser": {"learning_rate": 0.003},
}
MEASURED = ("eval/", "calibration/")
COHORT: dict[str, Any] = {"evaluation": {"kind": "cohort"}}


def references(path: Path, shuffled: bool = False, **changes: str) -> dict[str, Any]:
    """Write problems to a file, with the references in another order where asked; return `data`."""
    problems = arithmetic.make(("add", "sub"), (1, 2), 16, 1)
    answers = [(problem.answer, problem.solution) for problem in problems]
    if shuffled:
        random.Random(0).shuffle(answers)
    path.write_text(
        "".join(
            json.dumps({"question": problem.question, "answer": answer, "solution": solution})
            + "\n"
            for problem, (answer, solution) in zip(problems, answers, strict=True)
        )
    )
    columns = {"question": "question", "answer": "answer", "solution": "solution", **changes}
    train = {"kind": "file", "path": f"file:{path}", "columns": columns}
    return {"train": train, **COHORT}


def cohort(data: dict[str, Any], *stages: dict[str, Any]) -> RunSpec:
    return short(*(stages or (VOTE,)), data=data, checkpoints={"every": 1})


def test_shuffled_references_leave_the_weights_bit_identical(tmp_path: Path) -> None:
    folders = [
        carried_out(
            cohort(references(tmp_path / f"{shuffled}.jsonl", shuffled)), tmp_path / str(shuffled)
        )
        for shuffled in (False, True)
    ]
    first, second = folders
    assert final_hash(first) == final_hash(second)
    trained = [
        {key: value for key, value in numbers(folder).items() if not key[1].startswith(MEASURED)}
        for folder in folders
    ]
    assert trained[0] == trained[1]
    assert any(loss != 0 for loss in column(first, "grad_norm")), "the run learns something"
    # The evaluation reads them.
    assert column(first, "eval/pass_rate") != column(second, "eval/pass_rate")


def test_no_reference_is_in_what_a_run_records_of_its_training(tmp_path: Path) -> None:
    folder = carried_out(cohort(references(tmp_path / "data.jsonl")), tmp_path / "run")
    assert {row["reference"] for step in (1, 2, 3) for row in trained_rows(folder, step)} == {""}
    (note,) = [event["message"] for event in events(folder, "log") if "cohort" in event["message"]]
    assert note.startswith("This run trains on its evaluation problems, without their references")


def test_a_run_on_a_cohort_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = cohort(references(tmp_path / "data.jsonl"))
    uninterrupted, resumed = carried_out(definition, tmp_path / "whole"), tmp_path / "parts"
    stop_after(2, monkeypatch)
    assert start(definition, resumed) == 75
    monkeypatch.undo()
    assert run.resume(resumed) == 0
    assert numbers(resumed) == numbers(uninterrupted)
    assert final_hash(resumed) == final_hash(uninterrupted)


def test_the_problems_of_a_cohort_are_the_same_with_and_without_references(
    tmp_path: Path,
) -> None:
    spec = cohort(references(tmp_path / "data.jsonl"))
    problems = load_all(spec.data)
    assert len(problems.train) == len(problems.evaluation) == 16
    for hidden, known in zip(problems.train.items, problems.evaluation.items, strict=True):
        assert (hidden.id, hidden.question) == (known.id, known.question)
        assert (hidden.answer, hidden.solution) == ("", "")
        assert known.answer
    shuffled = load_all(cohort(references(tmp_path / "other.jsonl", True)).data)
    assert shuffled.train == problems.train
    assert shuffled.evaluation.fingerprint != problems.evaluation.fingerprint
    assert "the same, without their references, are its evaluation" in explain(spec, problems)


def test_a_question_with_two_references_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"question": "1+1=", "answer": answer} for answer in ("2", "3")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {"kind": "file", "path": f"file:{path}"}
    problems = load_all(cohort({"train": train, **COHORT}).data)
    assert [problem.answer for problem in problems.evaluation.items] == ["2"]


def test_retained_problems_that_are_trained_on_are_still_refused(tmp_path: Path) -> None:
    data = references(tmp_path / "data.jsonl")
    definition = cohort({**data, "retained": data["train"]})
    with pytest.raises(ProblemError, match="retained problems are training problems too"):
        load_all(definition.data)


NO_ESTIMATE = {"estimate": "never", "weighting": {"kind": "uniform"}, "track_problems": 0}


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"pool": {}}, "pool.estimate", "pass rates need them"),
        (
            {"pool": {**NO_ESTIMATE, "track_problems": 8}},
            "pool.track_problems",
            "set it to 0, because the evaluation measures the same problems",
        ),
        (
            {"stages": [{"name": "a", "objective": {"kind": "reverse_kl"}}]},
            "stages.0.rollouts.filter.kind",
            "is verifier, but data.evaluation is cohort, whose references training must not see",
        ),
        (
            {
                "stages": [
                    {"name": "a", "source": "solutions", "objective": {"kind": "cross_entropy"}}
                ]
            },
            "stages.0.source",
            "choose answers of the student or of a teacher",
        ),
        (
            {
                "stages": [
                    {
                        "name": "a",
                        "source": "pairs",
                        "objective": {"kind": "dpo"},
                        "pairs": {"chosen": "solutions"},
                    }
                ]
            },
            "stages.0.pairs.chosen",
            "is solutions, but data.evaluation is cohort",
        ),
        (
            {"networks": {"teacher": {"kind": "self", "context": {"kind": "privileged"}}}},
            "networks.teacher.context.kind",
            "is privileged, but data.evaluation is cohort",
        ),
    ],
)
def test_what_reads_references_is_refused_with_a_cohort(
    tmp_path: Path, changes: dict[str, Any], path: str, reason: str
) -> None:
    valid = to_dict(cohort(references(tmp_path / "data.jsonl")))
    assert issues_in(valid) == []
    issues = {issue.path: issue.message for issue in issues_in({**valid, **changes})}
    assert reason in issues[path]
