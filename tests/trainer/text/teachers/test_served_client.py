"""Requests for scores: repeated, divided among servers, and given up with a sentence."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.trainer.text.teachers.scoring_server import MODEL, ScoringServer, builtin, scoring
from trainer.engine.outcome import Failure, RunRefused, Stopped
from trainer.spec import ServedTeacher
from trainer.text.language.hidden_states import Row
from trainer.text.teachers.readings import Unread
from trainer.text.teachers.served.client import Ask, ServedClient
from trainer.text.teachers.served.requests import Requests
from trainer.text.teachers.served.scores import Scores

ROWS: list[Row] = [((5, 9, 4), tuple(range(3, 4 + count))) for count in range(12)]


class Run:
    """A run that keeps its log and its progress, and a clock that only pauses move on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.now, self.pauses, self.checks = 0.0, list[float](), list[str]()
        self.stops = False

    def log(self, level: str, sentence: str) -> None:
        self.lines.append((level, sentence))

    def progress(self, done: int, of: int) -> None:
        if self.stops:
            raise Stopped

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def check(self, url: str, ask: Ask) -> None:
        self.checks.append(url)


def client_of(run: Run, *servers: ScoringServer, key: str = "", **settings: Any) -> ServedClient:
    teacher = ServedTeacher.model_validate(
        {
            "kind": "served",
            "urls": [server.url for server in servers],
            "model": MODEL,
            "tokenizer": "builtin:teacher",
            "gives": {"kind": "sampled"},
            "seconds": 60,
            **settings,
        }
    )
    requests = Requests(teacher, "networks.teacher", key, builtin().vocabulary)
    return ServedClient(
        "teacher", requests, run.check, run.log, run.progress, run.pause, lambda: run.now
    )


def counts(results: Sequence[Scores | Unread]) -> list[int]:
    return [len(result.written) for result in results if isinstance(result, Scores)]


def test_rows_keep_their_order_and_the_longest_are_asked_first() -> None:
    with scoring() as server:
        client = client_of(Run(), server, at_once=1)
        assert counts(client.score(ROWS)) == [len(row[1]) for row in ROWS]
        assert server.scored == sorted(server.scored, reverse=True)


def test_requests_are_sent_at_the_same_time_up_to_the_limit() -> None:
    with scoring() as server:
        server.meeting, server.to_meet = threading.Barrier(5), 5
        assert len(client_of(Run(), server, at_once=5).score(ROWS)) == len(ROWS)
        assert server.busiest == 5


def test_several_servers_share_the_rows() -> None:
    with scoring() as one, scoring() as two:
        one.meeting = two.meeting = threading.Barrier(2)
        one.to_meet = two.to_meet = 1
        run = Run()
        client = client_of(run, one, two, at_once=1)
        assert len(counts(client.score(ROWS))) == 12
        assert one.scored and two.scored and len(one.scored) + len(two.scored) == 12
        assert sorted(run.checks) == sorted([one.url, two.url])


def test_a_server_that_is_down_is_left_out_until_it_answers() -> None:
    run = Run()
    with scoring() as one, scoring() as two:
        two.status = 503
        client = client_of(run, one, two)
        assert len(counts(client.score(ROWS))) == 12 and not two.scored
        two.status = 200
        client.check_again()
        assert set(run.checks) == {one.url, two.url}
        assert all(server.down_since is None for server in client.servers)


def test_a_server_that_fails_is_checked_before_it_is_asked_again() -> None:
    run = Run()
    with scoring() as server:
        client = client_of(run, server, at_once=2)
        client.score(ROWS[:1])
        server.failures = 3
        assert len(counts(client.score(ROWS))) == 12
        assert len(run.checks) >= 2 and client.requests.traffic.failures >= 1


def test_the_run_waits_for_a_server_and_says_so() -> None:
    run = Run()
    with scoring() as server:
        client = client_of(run, server)
        server.status = 503

        async def back(seconds: float) -> None:
            run.now += seconds
            if len(run.lines) == 1:
                server.status = 200

        client.pause = back
        assert len(counts(client.score(ROWS))) == 12
    assert [level for level, _ in run.lines] == ["warning", "info"]
    assert "Waiting for the teacher" in run.lines[0][1] and "status 503" in run.lines[0][1]
    assert "answers again" in run.lines[1][1]


def test_the_wait_is_bounded() -> None:
    run = Run()
    with scoring() as server:
        client = client_of(run, server, longest_wait=300)
        server.status = 503
        with pytest.raises(Failure, match="has not answered for") as failure:
            client.score(ROWS)
    assert "resume the run" in failure.value.remedy
    assert max(run.pauses) <= 30 and run.pauses[0] <= 0.5


def test_a_stop_is_heard_while_the_run_waits() -> None:
    run = Run()
    with scoring() as server:
        server.status = 503
        run.stops = True
        with pytest.raises(Stopped):
            client_of(run, server).score(ROWS)


def test_a_text_that_breaks_the_server_is_set_aside() -> None:
    with scoring() as server:
        server.breaks = {ROWS[11][1][-1]}
        client = client_of(Run(), server, retries=2, at_once=1)
        results = client.score(ROWS)
    assert isinstance(results[11], Unread) and "asked 3 times" in results[11].reason
    assert len(counts(results)) == 11 and client.requests.traffic.unread == 1


def test_texts_that_the_server_refuses_are_set_aside_up_to_a_share() -> None:
    with scoring() as server:
        server.refused = {ROWS[10][1][-1]}
        results = client_of(Run(), server, most_unscored=0.2).score(ROWS)
        reasons = [result.reason for result in results if isinstance(result, Unread)]
        assert len(reasons) == 2 and "this text is too long" in reasons[0]
        with pytest.raises(Failure, match=r"networks\.teacher\.most_unscored"):
            client_of(Run(), server, most_unscored=0.1).score(ROWS)


def test_a_key_is_sent_and_never_shown() -> None:
    with scoring() as server:
        run = Run()
        client_of(run, server, key="abc").score(ROWS[:1])
        assert server.headers[-1]["authorization"] == "Bearer abc"
        server.refused = set(range(200))
        with pytest.raises(Failure) as failure:
            client_of(run, server, key="abc").score(ROWS)
        assert "abc" not in str(failure.value)


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "does not accept the key"), (404, "refuses the request")]
)
def test_what_waiting_cannot_cure_ends_the_run_at_once(status: int, sentence: str) -> None:
    with scoring() as server:
        server.status = status
        with pytest.raises(RunRefused, match=sentence):
            client_of(Run(), server).score(ROWS)


def test_bytes_and_tokens_are_counted() -> None:
    with scoring() as server:
        client = client_of(Run(), server)
        client.score(ROWS)
    traffic = client.requests.traffic
    assert traffic.tokens == sum(len(row[1]) for row in ROWS)
    assert traffic.bytes > 50 * traffic.tokens and traffic.failures == traffic.unread == 0
