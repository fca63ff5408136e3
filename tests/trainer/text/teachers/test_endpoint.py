"""A teacher behind a real HTTP server: its requests, its cache, and its errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.teachers.endpoint_server import (
    Handler,
    Server,
    completion,
    running,
    status,
)
from trainer.engine.outcome import Failure, RunRefused
from trainer.spec import EndpointTeacher, Sampling
from trainer.text.teachers.completion_cache import Completion, CompletionCache
from trainer.text.teachers.endpoint import Endpoint

LAW = Sampling(max_new_tokens=20, temperature=0.7, top_p=0.9)


class Asking:
    """An endpoint teacher that notes its pauses instead of waiting."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.pauses: list[float] = []
        teacher = EndpointTeacher(url=url, model="big", **settings)
        self.endpoint = Endpoint(teacher, CompletionCache(folder), self._noted)

    async def _noted(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def __call__(self, *prompts: str) -> list[str]:
        return [result.text for result in self.endpoint.write(prompts, LAW)]


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as result:
        yield result


def test_each_prompt_is_asked_as_the_run_samples_and_answered_in_order(
    server: Server, tmp_path: Path
) -> None:
    sample_answers = Asking(server.url, tmp_path)
    assert sample_answers("one", "two", "three") == ["echo one", "echo two", "echo three"]
    body = next(body for body in server.bodies if body["messages"][0]["content"] == "one")
    expected = {
        "model": "big",
        "messages": [{"role": "user", "content": "one"}],
        "max_tokens": 20,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    assert (
        body == expected
        and set(server.paths) == {"/v1/chat/completions"}
        and sample_answers.pauses == []
    )


def test_a_resumed_run_asks_nothing_twice(server: Server, tmp_path: Path) -> None:
    Asking(server.url, tmp_path)("one", "two")
    assert Asking(server.url, tmp_path)("two", "three", "one", "one") == [
        "echo two",
        "echo three",
        "echo one",
        "echo one",
    ]
    assert sorted(body["messages"][0]["content"] for body in server.bodies) == [
        "one",
        "three",
        "two",
    ]
    assert CompletionCache(tmp_path).tokens() == 3 * 7


def test_what_was_written_before_a_failure_is_kept(server: Server, tmp_path: Path) -> None:
    server.script = [completion("first"), status(404)]
    with pytest.raises(RunRefused):
        Asking(server.url, tmp_path, at_once=1)("one", "two")
    assert Asking(server.url, tmp_path, at_once=1)("one", "two") == ["first", "echo two"]


def test_a_damaged_answer_on_disk_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    Asking(server.url, tmp_path)("one")
    for path in tmp_path.iterdir():
        path.write_text('{"text": "ec')
    assert Asking(server.url, tmp_path)("one") == ["echo one"] and len(server.bodies) == 2


def test_no_more_requests_are_in_flight_than_the_definition_allows(
    server: Server, tmp_path: Path
) -> None:
    server.gate.clear()
    sample_answers, reports = Asking(server.url, tmp_path, at_once=3), []

    def progress(done: int, of: int) -> None:
        reports.append((done, of))
        if server.busy == 3:
            server.gate.set()

    assert (
        len(sample_answers.endpoint.write([str(number) for number in range(9)], LAW, progress)) == 9
    )
    assert server.busiest == 3 and reports[-1] == (9, 9)


def test_a_run_that_is_stopped_ends_without_waiting_for_answers(
    server: Server, tmp_path: Path
) -> None:
    server.gate.clear()

    def leave(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Asking(server.url, tmp_path).endpoint.write(["one"], LAW, leave)
    assert not server.gate.is_set()


def test_a_rate_limit_is_waited_for_as_long_as_it_says(server: Server, tmp_path: Path) -> None:
    server.script = [status(429, Retry_After="30"), status(429), completion("at last")]
    sample_answers = Asking(server.url, tmp_path)
    assert sample_answers("one") == ["at last"]
    assert sample_answers.pauses[0] == 30 and 1 <= sample_answers.pauses[1] <= 2


def test_a_pause_may_be_given_as_a_date_and_is_never_endless(
    server: Server, tmp_path: Path
) -> None:
    server.script = [
        status(503, Retry_After=formatdate(usegmt=True)),
        status(503, Retry_After="99999"),
        status(503, Retry_After="soon"),
    ]
    sample_answers = Asking(server.url, tmp_path)
    sample_answers("one")
    assert (
        sample_answers.pauses[0] <= 1
        and sample_answers.pauses[1] == 600
        and sample_answers.pauses[2] <= 4
    )


def test_a_date_is_read_by_the_clock_of_its_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "date_time_string", lambda *_: "Wed, 21 Oct 2015 07:28:00 GMT")
    server.script = [status(503, Retry_After="Wed, 21 Oct 2015 07:28:30 GMT")]
    sample_answers = Asking(server.url, tmp_path)
    sample_answers("one")
    assert sample_answers.pauses == [30]


def test_pauses_grow(server: Server, tmp_path: Path) -> None:
    server.script = [status(500)] * 4
    sample_answers = Asking(server.url, tmp_path)
    sample_answers("one")
    assert (
        all(
            2**attempt / 2 <= pause <= 2**attempt
            for attempt, pause in enumerate(sample_answers.pauses)
        )
        and len(sample_answers.pauses) == 4
    )


RUBBISH = [
    (status(200, "<html>"), "no chat completion"),
    (status(200, "[" * 100_000), "no chat completion"),
    (status(200, '{"choices": []}'), "no chat completion"),
    (
        status(
            200,
            '{"choices": [{"message": {"content": "x"}, "finish_reason": {}}], '
            '"usage": {"completion_tokens": "many"}}',
        ),
        "no chat",
    ),
    (completion("\ud800"), "no chat completion"),
    (completion(None), "an empty answer"),
    (status(200, '{"error": {"message": "overloaded"}}'), "answers with an error .*overloaded"),
    (completion("  "), "an empty answer"),
    (completion("\0"), "characters which no text may have"),
]


@pytest.mark.parametrize(("reply", "phrase"), RUBBISH)
def test_an_invalid_answer_is_requested_again_and_then_reported(
    server: Server, tmp_path: Path, reply: Any, phrase: str
) -> None:
    server.script = [reply, reply, completion("sense")]
    assert Asking(server.url, tmp_path, retries=2)("one") == ["sense"]
    server.script = [reply, reply]
    with pytest.raises(
        Failure, match=rf"The teacher at {server.url} .*{phrase}.*asked 2 times"
    ) as failure:
        Asking(server.url, tmp_path, retries=1)("two")
    assert "what it has written is kept" in failure.value.remedy and not isinstance(
        failure.value, RunRefused
    )


def test_a_broken_endpoint_is_reported_with_its_error_text(server: Server, tmp_path: Path) -> None:
    server.script = [status(500, "out of\nmemory")] * 2
    with pytest.raises(
        Failure, match=r"fails with status 500 \(out of memory\); it was asked 2 times\."
    ):
        Asking(server.url, tmp_path, retries=1)("one")


def test_a_slow_endpoint_is_reported(server: Server, tmp_path: Path) -> None:
    server.gate.clear()
    with pytest.raises(
        Failure,
        match=r"did not answer within 0\.05 s \(networks\.teacher\.seconds\); it was asked once\.",
    ):
        Asking(server.url, tmp_path, retries=0, seconds=0.05)("one")


def test_an_unreachable_endpoint_is_reported(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(
            Failure, match=rf"The teacher at {url} cannot be reached \(.+\); it was asked 3 times"
        ):
            Asking(url, tmp_path, retries=2)("one")


@pytest.mark.parametrize("code", [301, 307, 400, 404, 422])
def test_an_error_that_waiting_cannot_fix_is_refused_at_once(
    server: Server, tmp_path: Path, code: int
) -> None:
    server.script = [status(code, "no such model", Location="http://127.0.0.1:1/elsewhere")]
    with pytest.raises(
        RunRefused, match=rf"refuses the request with status {code} \(no such model\)"
    ) as messages:
        Asking(server.url, tmp_path)("one")
    assert "networks.teacher.url" in messages.value.remedy and len(server.bodies) == 1


def test_the_key_is_read_from_the_environment_and_sent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_BIG_MODEL", " k3y\n")
    Asking(server.url, tmp_path, key="secret:big-model")("one")
    assert server.headers[0]["authorization"] == "Bearer k3y"
    assert not any("k3y" in path.read_text() for path in tmp_path.iterdir())


def test_no_key_is_sent_where_none_is_named(server: Server, tmp_path: Path) -> None:
    Asking(server.url, tmp_path)("one")
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize("code", [401, 403])
def test_a_key_that_is_not_accepted_is_refused_and_not_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_BIG", "k3y")
    server.script = [status(code, "wrong key k3y")]
    with pytest.raises(RunRefused, match="does not accept the key") as messages:
        Asking(server.url, tmp_path, key="secret:big")("one")
    assert "k3y" not in messages.value.reason + messages.value.remedy


def test_the_key_is_removed_from_an_endpoints_messages(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_BIG", "k3y")
    server.script = [status(400, "bad request with k3y")]
    with pytest.raises(RunRefused, match=r"bad request with …"):
        Asking(server.url, tmp_path, key="secret:big")("one")


@pytest.mark.parametrize(
    ("value", "phrase"),
    [(None, "no such secret"), ("  ", "no such secret"), ("k\x00y", "characters that no key has")],
)
def test_a_secret_that_cannot_be_sent_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, phrase: str
) -> None:
    monkeypatch.setattr("os.environ", {} if value is None else {"STILLROOM_SECRET_BIG": value})
    with pytest.raises(RunRefused, match=phrase) as refusal:
        Asking(server.url, tmp_path, key="secret:big")("one")
    assert "STILLROOM_SECRET_BIG" in refusal.value.remedy and server.bodies == []


def test_a_truncated_answer_is_marked_as_truncated(server: Server, tmp_path: Path) -> None:
    server.script = [completion("and so", "length", 20)]
    assert Asking(server.url, tmp_path).endpoint.write(["one"], LAW) == [
        Completion("and so", True, 20)
    ]


COUNTS = [
    ("1e999", 10**9),
    ("-1e999", 0),
    ("NaN", 0),
    ("-3", 0),
    ("1" + "0" * 400, 10**9),
    ("12.7", 12),
    ("null", 0),
]


@pytest.mark.parametrize(("reported", "tokens"), COUNTS)
def test_a_reported_token_count_is_limited(
    server: Server, tmp_path: Path, reported: str, tokens: int
) -> None:
    code, headers, body = completion("sense")
    server.script = [
        (
            code,
            headers,
            body.replace(b'"completion_tokens": 7', f'"completion_tokens": {reported}'.encode()),
        )
    ]
    asking = Asking(server.url, tmp_path, retries=0)
    assert asking.endpoint.write(["one"], LAW) == [Completion("sense", False, tokens)]
    assert asking.endpoint.cache.tokens() == tokens


@pytest.mark.parametrize(("recorded", "tokens"), COUNTS[:-1])
def test_a_count_in_a_kept_answer_is_held_to_the_same_bounds(
    tmp_path: Path, recorded: str, tokens: int
) -> None:
    (tmp_path / "a.json").write_text(
        f'{{"text": "sense", "truncated": false, "tokens": {recorded}}}'
    )
    assert CompletionCache(tmp_path).tokens() == tokens


def test_top_k_is_sent_only_where_it_is_set(server: Server, tmp_path: Path) -> None:
    Asking(server.url, tmp_path).endpoint.write(["one"], LAW.model_copy(update={"top_k": 5}))
    assert server.bodies[0]["top_k"] == 5
