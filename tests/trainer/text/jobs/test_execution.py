"""Parts of jobs as the command line executes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.text.short_run import STATED, carried_out, short
from tests.trainer.text.teachers.endpoint_server import completion, running
from tests.trainer.text.tiny_run import events, merged
from trainer.cli import main
from trainer.spec import FileProblems
from trainer.spec.jobs import blocks_of_part, load_job
from trainer.text.jobs.execution import execute_part
from trainer.text.jobs.tallies import tally
from trainer.text.problems import load_source

RATES: dict[str, Any] = {
    "work": {"kind": "pass_rates", "samples": 3, "keep_texts": True},
    "problems": {"kind": "arithmetic", "count": 44},
    "sampling": {"max_new_tokens": 24},
    "compute": {"device": "cpu", "block": 4, "generation_rows": 8},
}


def job(folder: Path, **changes: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(merged(RATES, changes)))
    return path


def done(spec: Path, part: int = 0, parts: int = 1) -> bytes:
    """Return the content of the file that a part writes."""
    out = spec.with_name(f"{part}-of-{parts}.jsonl")
    assert (
        main(["shard", str(spec), "--part", str(part), "--of", str(parts), "--out", str(out)]) == 0
    )
    return out.read_bytes()


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_seven_parts_hold_what_one_holds_byte_for_byte(tmp_path: Path) -> None:
    spec = job(tmp_path)
    single = done(spec)
    content_by_part = {number: done(spec, number, 7) for number in reversed(range(7))}
    assert b"".join(content_by_part[number] for number in range(7)) == single
    assert [row["place"] for row in rows(single)] == list(range(44))
    result = sum((tally(rows(content)) for content in content_by_part.values()), tally([]))
    assert result == tally(rows(single))
    assert 0 < result.pass_rate[0] < 1


def test_every_cut_covers_every_problem_once() -> None:
    for problems, block, parts in ((44, 4, 7), (1, 64, 3), (1000, 64, 64), (65, 64, 2), (0, 8, 2)):
        indices = [
            index
            for part in range(parts)
            for block_ in blocks_of_part(problems, block, part, parts)
            for index in block_
        ]
        assert indices == list(range(problems))


def test_a_checkpoint_scores_what_its_run_measured(tmp_path: Path) -> None:
    measured = {
        "kind": "arithmetic",
        "families": ["add", "sub"],
        "levels": [1, 2],
        "count": 12,
        "seed": 2,
    }
    adapter = {"kind": "lora", "rank": 8, "alpha": 16.0}
    definition = short(
        {
            "source": "solutions",
            "objective": {"kind": "cross_entropy"},
            "optimiser": {"learning_rate": 0.03},
        },
        networks={"student": {"model": "builtin:student", "adapter": adapter}},
        data={"evaluation": measured},
        evaluation={"final_samples": 2, "pass_at": [1, 2]},
    )
    run = carried_out(definition, tmp_path / "run")
    before, after = (event for event in events(run, "evaluation") if event["role"] == "evaluation")
    assert before["pass_rate"] != after["pass_rate"]
    changes = {
        "seed": definition.seed,
        "work": {"kind": "evaluation", "samples": 2, "pass_at": [1, 2]},
        "model": {
            "kind": "checkpoint",
            "checkpoint": f"file:{run / 'attempts/1/checkpoints/step-00000003'}",
        },
        "problems": measured,
        "sampling": definition.evaluation.sampling.model_dump(),
        "verifier": definition.data.verifier.model_dump(),
    }
    result = tally(rows(done(job(tmp_path, **changes))))
    assert result.pass_rate[0] == after["pass_rate"]
    assert result.pass_at(2) == after["pass_at"]["2"]


def test_stated_confidences_are_measured(tmp_path: Path) -> None:
    changes = {
        "model": {"kind": "model", "model": "builtin:confident"},
        "confidence": STATED,
        "sampling": {"max_new_tokens": 48},
    }
    result = tally(rows(done(job(tmp_path, **changes))))
    event = result.calibration()
    assert event["n"] == 132
    assert 0 < event["ece"] < 1


def test_the_first_right_answer_of_a_teacher_is_kept(tmp_path: Path) -> None:
    one_sample, four_samples = (
        {"work": {"kind": "teacher_answers", "samples": samples}} for samples in (1, 4)
    )
    first, best = (rows(done(job(tmp_path, **changes))) for changes in (one_sample, four_samples))
    assert all(len(row["answers"]) == 1 and row["answers"][0]["text"] for row in best)
    assert sum(row["answers"][0]["verdict"] for row in best) > sum(
        row["answers"][0]["verdict"] for row in first
    )


def test_an_endpoint_may_write_the_answers(tmp_path: Path) -> None:
    with running() as server:
        server.script = [completion("the sum is 1")] * 3
        spec = {
            **RATES,
            "work": {"kind": "teacher_answers"},
            "model": {"kind": "endpoint", "url": server.url, "model": "some"},
            "problems": {"kind": "arithmetic", "count": 3},
        }
        execute_part(load_job(spec), 0, 1, tmp_path / "out.jsonl")
    result = rows((tmp_path / "out.jsonl").read_bytes())
    assert [row["answers"][0]["text"] for row in result] == ["the sum is 1"] * 3
    assert [row["answers"][0]["read"] for row in result] == ["1"] * 3


def test_history_reaches_the_endpoint_and_the_result(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+0?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "And 1+1?"},
    ]
    data = tmp_path / "chat.jsonl"
    data.write_text(json.dumps({"prompt": messages, "answer": "2"}))
    columns = {"question": "prompt", "answer": "answer"}
    with running() as server:
        server.script = [completion("the sum is 2")]
        spec = {
            **RATES,
            "work": {"kind": "teacher_answers"},
            "model": {"kind": "endpoint", "url": server.url, "model": "some"},
            "problems": {"kind": "file", "path": f"file:{data}", "columns": columns},
            "prompt": "{question} Say it in words.",
        }
        execute_part(load_job(spec), 0, 1, tmp_path / "out.jsonl")
        asked = server.bodies[0]["messages"]
    assert asked == [
        *messages[:-1],
        {"role": "user", "content": "And 1+1? Say it in words."},
    ]
    (result,) = rows((tmp_path / "out.jsonl").read_bytes())
    assert (result["question"], result["answers"][0]["verdict"]) == ("And 1+1?", True)
    # A data set that is made of the result has the same problem.
    (tmp_path / "again.jsonl").write_text(json.dumps(result))
    source = {
        "path": f"file:{tmp_path / 'again.jsonl'}",
        "columns": {"question": "question", "answer": "reference", "history": "history"},
    }
    (problem,) = load_source(FileProblems.model_validate(source)).items
    (original,) = load_source(load_job(spec).problems).items
    assert problem == original and len(problem.history) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model": {"kind": "model", "model": "file:/nowhere"}},
            "The model folder /nowhere does not exist.",
        ),
        (
            {"problems": {"kind": "file", "path": "file:/nothing.jsonl"}},
            "There is no file /nothing.jsonl",
        ),
        ({"work": {"samples": 0}}, "work.samples must be at least 1"),
        ({"model": {"kind": "checkpoint", "checkpoint": "file:/tmp/none"}}, "cannot be used"),
        ({"sampling": {"max_new_tokens": 100_000}}, "do not fit builtin:student"),
    ],
)
def test_an_unusable_job_ends_with_an_error_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["shard", str(job(tmp_path, **changes)), "--out", str(out)]) == 64
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_where_there_are_more_parts_than_blocks_some_are_empty(tmp_path: Path) -> None:
    spec = job(tmp_path, problems={"count": 3})
    assert sorted(len(rows(done(spec, part, 2))) for part in range(2)) == [0, 3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"work": {"kind": "evaluation", "samples": 2, "pass_at": [4]}},
            "asks for pass@4 of 2 answers",
        ),
        (
            {"model": {"kind": "endpoint", "url": "http://a/v1", "model": "m"}},
            "asks an endpoint for several answers",
        ),
        ({"prompt": "hello"}, "must contain {question}"),
        ({"model": {"kind": "checkpoint", "checkpoint": "checkpoint:abc"}}, "must name the step"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    assert main(["shard", str(job(tmp_path, **changes)), "--out", str(tmp_path / "out")]) == 64
    assert sentence in capsys.readouterr().err
