"""Whole runs with teachers that are not loaded from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.teachers.endpoint_server import Reply, Server, completion, running, status
from tests.trainer.text.tiny_run import end, events, spec, start
from trainer.exit_codes import ExitCode
from trainer.spec import RunSpec
from trainer.text import run

PROBLEMS = 16


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as result:
        yield result


def learning_from(server: Server, **changes: Any) -> RunSpec:
    stage = {
        "name": "written",
        "source": "teacher_written",
        "objective": {"kind": "cross_entropy"},
        "problems_per_step": 6,
        "until": {"steps": 2},
        "rollouts": {"generate": {"sampling": {"max_new_tokens": 24}}},
    }
    teacher = {
        "kind": "endpoint",
        "url": server.url,
        "model": "big",
        "price": 2.0,
        "retries": 0,
        "at_once": 1,
        **changes,
    }
    return spec(networks={"teacher": teacher}, stages=[stage])


def teacher_metrics(folder: Path, attempt: int) -> dict[str, float]:
    result = [event["values"] for event in events(folder, "metrics", attempt=attempt)]
    return {
        key: value
        for values in result
        for key, value in values.items()
        if key in ("teacher/tokens", "teacher/cost")
    }


def test_a_run_whose_teacher_fails_is_resumed_and_asks_nothing_twice(
    server: Server, tmp_path: Path
) -> None:
    server.script += [*[completion("5", tokens=1000)] * 5, *[status(503, "busy")] * PROBLEMS]
    assert start(learning_from(server), tmp_path) == ExitCode.FAILED
    assert (
        f"The teacher at {server.url} fails with status 503 (busy); it was asked once."
        in end(tmp_path)["reason"]
    )
    assert "Resume the run" in end(tmp_path)["remedy"]
    asked = len(server.bodies)
    server.script[:] = [completion("5", tokens=1000)] * (PROBLEMS - 5)
    assert run.resume(tmp_path) == ExitCode.COMPLETED
    questions = [body["messages"][0]["content"] for body in server.bodies]
    assert len(set(questions)) == PROBLEMS and len(questions) - asked == PROBLEMS - 5
    assert teacher_metrics(tmp_path, 2) == {
        "teacher/tokens": PROBLEMS * 1000,
        "teacher/cost": PROBLEMS * 1000 * 2.0 / 1e6,
    }


def test_a_run_without_the_key_that_it_names_is_refused_before_anything_is_sampled(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STILLROOM_SECRET_BIG", raising=False)
    assert start(learning_from(server, key="secret:big"), tmp_path) == ExitCode.REFUSED
    assert (
        "no such secret" in end(tmp_path)["reason"]
        and not events(tmp_path, "problems")
        and not server.bodies
    )


def test_problems_without_answer_are_set_aside_and_the_run_goes_on(
    server: Server, tmp_path: Path
) -> None:
    """One is too long, one is filtered, and one is cut before its answer begins."""

    def reply(finish: str, content: str | None) -> Reply:
        choice = {"message": {"content": content, "reasoning": "hm"}, "finish_reason": finish}
        return 200, {}, json.dumps({"choices": [choice]}).encode()

    server.script += [
        completion("5"),
        status(400, "maximum context length is 4096 tokens"),
        reply("content_filter", ""),
        reply("length", None),
        *[completion("5")] * (PROBLEMS - 4),
    ]
    assert start(learning_from(server), tmp_path) == ExitCode.COMPLETED
    values = {
        key: value
        for event in events(tmp_path, "metrics")
        for key, value in event["values"].items()
        if key.startswith("teacher/")
    }
    assert values["teacher/unanswered"] == 2
    assert values["teacher/truncated"] == pytest.approx(1 / (PROBLEMS - 2))
    messages = " ".join(event["message"] for event in events(tmp_path, "log"))
    assert f"2 of {PROBLEMS} problems have no answer of the teacher" in messages
    assert "status 400 (maximum context length is 4096 tokens)" in messages
    assert "content filter leaves no answer" in messages
    assert f"reasoning beside 1 of {PROBLEMS - 2} answers. It is left out" in messages
    losses = [event for event in events(tmp_path, "metrics") if "loss" in event["values"]]
    assert len(losses) == 2
