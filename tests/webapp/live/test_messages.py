"""The definition of the messages: its schema is the one that JavaScript is tested with, and so are
frames that a server really sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import Client

from tests.webapp.logs import event, losses
from tests.webapp.logs import metrics as logged
from tests.webapp.sockets import Socket
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team
from webapp.jobs import lifecycle
from webapp.live import consumer as consumers
from webapp.live import frames, messages
from webapp.runs.models import Run

from .conftest import Connect, Send, news_of, subscribed

RECORDED = Path(__file__).parents[2] / "js" / "recorded_frames.jsonl"
TYPES = ("delta", "reset", "runs", "jobs", "refused", "stalled", "pong", "error")


def test_the_schema_that_javascript_is_tested_with_is_that_of_the_models() -> None:
    assert messages.SCHEMA.read_text() == messages.schema(), (
        "Write it anew: python -m webapp.live.messages"
    )


def test_the_frames_that_javascript_is_tested_with_are_understood() -> None:
    frames = [
        messages.from_server.validate_json(line) for line in RECORDED.read_text().splitlines()
    ]
    assert {frame.type for frame in frames} == set(TYPES)


@pytest.mark.django_db(transaction=True)
async def test_a_server_sends_every_kind_of_frame(
    connect: Connect,
    bobs: Client,
    run: Run,
    still: Team,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Also writes them down: to renew tests/js/recorded_frames.jsonl, copy what this leaves in its
    folder.
    """
    monkeypatch.setattr(consumers, "RETRY_SECONDS", 0.01)
    await sync_to_async(lifecycle.create_job)(still, None, JobSpec(), 128, 1)
    await send(
        [
            event(1, "progress", step=0, total_steps=9, stage="forward", phase="training"),
            *losses(1, 3, seq=2),
        ]
    )
    socket = await connect(bobs)
    received = [await subscribed(socket, run)]
    await send(
        [
            logged(5, 4, loss="NaN", grad_norm="Infinity"),
            event(6, "log", level="info", message="hello"),
        ]
    )
    received.append(await socket.hear())
    await send(losses(5, 60, seq=7))
    await socket.say(type="subscribe", run=run.public_id, width=10)
    received += await heard_up_to(socket, "reset")
    outages = iter([OperationalError("the server closed the connection")])
    original = frames.news_since

    def interrupted(run_id: int, since: int) -> frames.RunChanges:
        for outage in outages:
            raise outage
        return original(run_id, since)

    monkeypatch.setattr(frames, "news_since", interrupted)
    await socket.say(type="subscribe", run=run.public_id, since=2)
    received += await heard_up_to(socket, "stalled")
    for request, answer in (
        ("subscribe", "refused"),
        ("ping", "pong"),
        ("hello?", "error"),
        ("subscribe_list", "runs"),
        ("subscribe_jobs", "jobs"),
    ):
        await socket.say(type=request, **({"run": "neverwas"} if request == "subscribe" else {}))
        received += await heard_up_to(socket, answer)
    assert {frame["type"] for frame in received} == set(TYPES)
    (tmp_path / "recorded_frames.jsonl").write_text(
        "".join(_line(frame, run) for frame in received)
    )


async def heard_up_to(socket: Socket, type: str) -> list[dict[str, Any]]:
    received = [await socket.hear()]
    while received[-1]["type"] != type:
        received.append(await socket.hear())
    return received


def _line(frame: dict[str, Any], run: Run) -> str:
    return json.dumps(frame, separators=(",", ":")).replace(run.public_id, "abcdefghjk") + "\n"


@pytest.mark.django_db(transaction=True)
async def test_a_reset_of_many_series_comes_in_several_frames_none_of_them_too_large(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FRAME_NUMBERS", 400)
    keys = {f"key/{i}": float(i) for i in range(30)}
    values: dict[int, dict[str, Any]] = {
        step: {key: value + step for key, value in keys.items()} for step in range(1, 41)
    }
    await send([logged(step, step, **values[step]) for step in values])
    socket = await connect(bobs)
    reset_frames = [await subscribed(socket, run, width=20)]
    while reset_frames[-1]["part"] < reset_frames[-1]["parts"] - 1:
        reset_frames.append(await socket.hear())
    assert len(reset_frames) > 5
    assert {(frame["type"], frame["cursor"], frame["parts"]) for frame in reset_frames} == {
        ("reset", await news_of(run), len(reset_frames))
    }
    assert [frame["part"] for frame in reset_frames] == list(range(len(reset_frames)))
    series_by_key = {series["key"]: series for frame in reset_frames for series in frame["series"]}
    assert sorted(series_by_key) == sorted(keys)
    assert all(
        series["count"] == 40 and max(series["max"]) == keys[key] + 40
        for key, series in series_by_key.items()
    )


@pytest.mark.django_db(transaction=True)
async def test_more_series_than_can_be_told_are_refused_and_many_get_fewer_buckets(
    connect: Connect, bobs: Client, run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MOST_POINTS", 300)
    values: dict[str, Any] = {f"key/{i}": 1.0 for i in range(10)}
    await send([logged(step, step, **values) for step in range(1, 101)])
    socket = await connect(bobs)
    answer = await subscribed(socket, run, width=100)
    assert (answer["type"], answer["width"]) == ("reset", 30)
    assert all(len(series["x"]) <= 31 and series["count"] == 100 for series in answer["series"])
    monkeypatch.setattr(frames, "MOST_KEYS", 9)
    assert "10 series" in (await subscribed(socket, run, width=100))["message"]
    assert (await subscribed(socket, run, keys=["key/1"], width=100))["type"] == "reset"
