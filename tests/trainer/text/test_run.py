"""Whole runs of the built-in pair: the order of their phases, their records and their end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer.text.tiny_run import end, events, numbers, spec, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    retained = {"kind": "arithmetic", "families": ["msum"], "levels": [1], "count": 6}
    assert (
        start(spec(data={"retained": retained}, pool={"weighting": {"kind": "paced"}}), folder) == 0
    )
    return folder


def of(folder: Path, type: str, **fields: Any) -> list[dict[str, Any]]:
    return [
        event
        for event in events(folder, type)
        if all(event[name] == value for name, value in fields.items())
    ]


def test_the_run_ends_with_a_reason(folder: Path) -> None:
    assert end(folder)["outcome"] == "completed"
    assert end(folder)["reason"].startswith("All 8 steps are done. The student solves ")
    assert "points against before" in end(folder)["reason"]


def test_the_log_reports_every_evaluation_except_the_last_which_the_end_reports(
    folder: Path,
) -> None:
    messages = [
        event["message"] for event in events(folder, "log") if "held-out" in event["message"]
    ]
    assert [message.partition(":")[0] for message in messages] == [
        "Before training",
        "After step 3",
        "After step 6",
    ]
    [end] = events(folder, "end")
    assert "of the held-out problems" in end["reason"] or "none of the" in end["reason"]


def test_evaluations_and_checkpoints_are_compared_on_problems_that_all_of_them_asked(
    tmp_path: Path,
) -> None:
    settings = {"every": 3, "problems": 5, "final_samples": 2}
    start(spec(evaluation=settings, checkpoints={"keep_best": True}), tmp_path)
    evaluations = of(tmp_path, "evaluation", role="evaluation")
    assert [(event["when"], event["problems"]) for event in evaluations] == [
        ("before", 12),
        ("during", 5),
        ("during", 5),
        ("after", 12),
    ]
    assert {event["common"]["problems"] for event in evaluations} == {5}
    during = [event for event in evaluations if event["when"] == "during"]
    assert all(event["common"]["pass_rate"] == event["pass_rate"] for event in during)
    # The change on these problems is that of the paired comparison.
    before = evaluations[0]["common"]["pass_rate"]
    for event in during:
        change = event["common"]["pass_rate"] - before
        assert change == pytest.approx(event["difference"]["pass_rate"], abs=1e-12)
    best = max(event["common"]["pass_rate"] for event in evaluations[1:])
    steps = [event["step"] for event in evaluations[1:] if event["common"]["pass_rate"] == best]
    marked = [event["step"] for event in events(tmp_path, "checkpoint") if event["best"]]
    assert marked[-1] == steps[0]


def test_every_evaluation_records_what_it_found_for_each_problem(folder: Path) -> None:
    evaluations, recorded = of(folder, "evaluation"), of(folder, "evaluated")
    fingerprints = {event["role"]: event["fingerprint"] for event in events(folder, "problem_set")}
    rates: list[dict[str, float]] = []
    for evaluation, results in zip(evaluations, recorded, strict=True):
        for name in ("step", "when", "role", "problems", "samples"):
            assert results[name] == evaluation[name]
        assert results["fingerprint"] == fingerprints[results["role"]]
        table = pq.read_table(folder / "attempts/1/side" / results["file"]["name"]).to_pylist()
        rates.append({row["problem"]: row["passed"] / row["verdicts"] for row in table})
        assert len(table) == len(rates[-1]) == results["problems"]
        assert fmean(rates[-1].values()) == pytest.approx(evaluation["pass_rate"])
        assert max(row["verdicts"] for row in table) == results["samples"]
        for row in table:
            verdicts = [answer["verdict"] for answer in row["answers"]]
            assert len(verdicts) == results["samples"] and verdicts.count(True) == row["passed"]
    before, after = (
        rates[index]
        for index, event in enumerate(recorded)
        if event["role"] == "evaluation" and event["when"] != "during"
    )
    changes = [after[problem] - before[problem] for problem in before]
    [last] = of(folder, "evaluation", role="evaluation", when="after")
    assert fmean(changes) == pytest.approx(last["difference"]["pass_rate"])


def test_results_say_how_the_answers_were_asked_for(folder: Path) -> None:
    conditions = {json.dumps(event["conditions"]) for event in events(folder, "evaluated")}
    assert json.loads(conditions.pop()) == {
        "verifier": spec().data.verifier.model_dump(mode="json"),
        "prompt": "{question}",
        "confidence": None,
        "answer_limit": 24,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0},
    }
    assert not conditions


def test_the_definition_is_stored_beside_the_log(folder: Path) -> None:
    assert json.loads((folder / "spec.json").read_text())["name"] == "tiny"


def test_every_role_of_problems_is_recorded_with_its_fingerprint(folder: Path) -> None:
    sets = {event["role"]: event for event in events(folder, "problem_set")}
    assert {role: event["count"] for role, event in sets.items()} == {
        "train": 16,
        "evaluation": 12,
        "retained": 6,
    }
    assert len(sets["train"]["fingerprint"]) == 64
    table = pq.read_table(folder / "attempts/1/side" / sets["evaluation"]["file"]["name"])
    assert table.column_names == ["id", "question", "answer", "domain", "difficulty"]
    assert table.num_rows == 12


def test_the_teacher_answers_each_kept_problem_once_and_no_other(folder: Path) -> None:
    measured = of(folder, "problems", role="train")[0]
    kept_ids = [
        id for id, weight in zip(measured["ids"], measured["weights"], strict=True) if weight
    ]
    teacher_events = of(folder, "rollouts", role="teacher")
    assert len(teacher_events) == 1
    assert teacher_events[0]["of"] == len(kept_ids) < 16
    trained = {
        entry["problem"]
        for event in of(folder, "rollouts", role="train")
        if event["step"]
        for entry in event["index"]
    }
    assert trained <= set(kept_ids)


def test_weights_of_the_kept_problems_have_mean_one(folder: Path) -> None:
    weights = [weight for weight in of(folder, "problems", role="train")[0]["weights"] if weight]
    assert sum(weights) / len(weights) == pytest.approx(1)


def test_teacher_written_steps_generate_nothing_and_student_steps_report_their_pass_rate(
    folder: Path,
) -> None:
    steps = {key for step, key in numbers(folder) if 1 <= step <= 4}
    assert "pass_rate/train" not in steps
    assert {
        "loss",
        "grad_norm",
        "divergence/mean",
        "divergence/p99",
        "entropy/mean",
        "length/mean",
        "truncated/share",
    } <= steps
    assert (5, "pass_rate/train") in numbers(folder)


def test_tracked_problems_are_followed_at_each_evaluation(folder: Path) -> None:
    tracked = of(folder, "problems", reason="tracking")
    assert [event["step"] for event in tracked] == [3, 6, 8]
    assert len({tuple(event["ids"]) for event in tracked}) == 1
    assert len(tracked[0]["ids"]) == 4


def test_evaluations_before_and_after_carry_intervals_groups_and_the_paired_difference(
    folder: Path,
) -> None:
    before, after = (
        of(folder, "evaluation", when=when, role="evaluation")[0] for when in ("before", "after")
    )
    assert before["difference"] is None
    assert (
        after["difference"]["interval"][0]
        <= after["difference"]["pass_rate"]
        <= after["difference"]["interval"][1]
    )
    assert {group["by"] for group in after["groups"]} == {"tier", "difficulty", "domain"}
    assert after["samples"] == 2
    assert [event["step"] for event in of(folder, "evaluation", when="during")] == [3, 6]


def test_the_retained_skill_is_measured_before_and_after(folder: Path) -> None:
    assert [event["when"] for event in of(folder, "evaluation", role="retained")] == [
        "before",
        "after",
    ]
    assert (0, "retained/pass_rate") in numbers(folder)
    assert {step for step, name in numbers(folder) if name == "retained/forgetting"} == {8}


def test_side_files_hold_what_their_hash_says_and_what_the_index_shows(folder: Path) -> None:
    for event in events(folder, "rollouts"):
        path = folder / "attempts/1/side" / event["file"]["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == event["file"]["sha256"]
        rows = pq.read_table(path).to_pylist()
        assert len(rows) == event["file"]["rows"] == event["kept"] == len(event["index"]) <= 4
        for row, entry in zip(rows, event["index"], strict=True):
            assert len(row["ids"]) == len(row["tokens"]) == entry["length"]
            assert (row["problem"], row["verdict"], row["truncated"]) == (
                entry["problem"],
                entry["verdict"],
                entry["truncated"],
            )


def test_trained_rollouts_carry_every_signal_of_every_token(folder: Path) -> None:
    event = [event for event in of(folder, "rollouts", role="train") if event["step"]][-1]
    for row in pq.read_table(folder / "attempts/1/side" / event["file"]["name"]).to_pylist():
        for signal in (
            "student_logprob",
            "teacher_logprob",
            "divergence",
            "entropy",
            "student_top",
            "teacher_top",
        ):
            assert len(row[signal]) == len(row["ids"])
        assert row["weight"] > 0


def test_a_checkpoint_holds_a_model_description_that_loads(folder: Path) -> None:
    newest = max((folder / "attempts/1/checkpoints").glob("step-*"))
    names = {path.name for path in newest.iterdir()}
    assert {
        "manifest.json",
        "state.json",
        "student.safetensors",
        "optimiser.safetensors",
        "ema.safetensors",
    } <= names
    assert {"config.json", "tokenizer.json"} <= names


def test_compute_and_tokens_only_grow(folder: Path) -> None:
    for name in ("tokens", "compute"):
        counts = [event[name] for event in events(folder, "metrics")]
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]


def test_tokens_are_those_of_the_answers_of_steps_each_once(tmp_path: Path) -> None:
    stages = [
        {"name": "given", "source": "solutions", "until": {"steps": 2}, "problems_per_step": 4},
        {"name": "own", "until": {"steps": 2}, "problems_per_step": 4},
    ]
    start(spec(stages=stages, evaluation={"every": 1}, record={"every": 1}), tmp_path)
    count_at = {event["step"]: event["tokens"] for event in events(tmp_path, "metrics")}
    sampled = {event["step"]: event["generated"] for event in events(tmp_path, "pipeline")}
    # Neither evaluations nor pass rates count, and a sampled answer does not count again as learnt.
    assert count_at[0] == 0
    assert 0 < count_at[1] < count_at[2]
    assert count_at[3] - count_at[2] == sampled[3] > 0
    assert count_at[4] - count_at[3] == sampled[4] > 0


def test_an_unchanged_student_scores_exactly_the_same(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-30}
    stages = [{"name": "still", "optimiser": still, "until": {"steps": 2}, "problems_per_step": 4}]
    start(spec(stages=stages, evaluation={"every": 0, "ema_decay": 0}), tmp_path)
    after = of(tmp_path, "evaluation", when="after")[0]
    assert after["difference"] == {"pass_rate": 0.0, "interval": [0.0, 0.0]}


def test_a_pool_that_nobody_can_learn_from_ends_the_run_well_and_says_why(tmp_path: Path) -> None:
    hopeless = {"kind": "arithmetic", "levels": [3], "count": 4}
    assert (
        start(
            spec(
                data={"train": hopeless, "evaluation": {**hopeless, "seed": 9}},
                pool={"weighting": {"kind": "paced"}},
            ),
            tmp_path,
        )
        == 0
    )
    assert end(tmp_path)["outcome"] == "completed"
    assert "No problem is left to train on" in end(tmp_path)["reason"]
    assert "uniform" in end(tmp_path)["remedy"]
    assert len(events(tmp_path, "evaluation")) == 1
    assert events(tmp_path, "rollouts")[-1]["role"] != "teacher"


def test_a_refresh_measures_dropped_problems_again_and_logs_the_drift(tmp_path: Path) -> None:
    start(
        spec(
            pool={
                "refresh": "each_stage",
                "weighting": {"kind": "hard_filter", "low": 0.25, "high": 0.75},
            }
        ),
        tmp_path,
    )
    measured = of(tmp_path, "problems", role="train")
    assert [(event["step"], event["reason"]) for event in measured] == [
        (0, "initial"),
        (4, "refresh"),
    ]
    assert len(measured[1]["ids"]) == 16
    assert (4, "pool/drift") in numbers(tmp_path)


def test_gradient_snr_is_measured_on_request(tmp_path: Path) -> None:
    stages = [{"name": "short", "until": {"steps": 1}, "problems_per_step": 4}]
    start(
        spec(
            pool={"measure_snr": True, "rollouts_per_problem": 2},
            stages=stages,
            evaluation={"every": 0},
        ),
        tmp_path,
    )
    bins = events(tmp_path, "snr")[0]["bins"]
    assert len({result["n"] for result in bins}) == 1
    assert all(result["interval"][0] <= result["interval"][1] for result in bins)
