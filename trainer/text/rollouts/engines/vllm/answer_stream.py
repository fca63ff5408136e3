"""A stream of answers from a vLLM server, with the protocol `Stream`.

A request for an answer that is watched is answered token by token (server-sent events); closing its
connection makes the server give it up. One that is only to be finished is answered at once. The
server does not wait for the trainer between two steps: `step` reports the tokens that have arrived,
in lockstep, and a paused answer has all of them. One that the server has ended meanwhile is whole;
it ends at once when it is resumed.

A branch is a request of its own, whose prompt ends with the shared tokens; vLLM's prefix cache
knows their keys and values. Every request has its own seed, made from the answer's noise and
position, so an answer that is interrupted and resumed is another draw from the same distribution.

Not given: entropies; log-probs of the model's own distribution at a temperature other than 1, and
those of forced tokens, which are NaN.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise, rollout_keys
from trainer.text.rollouts.engines.vllm.client import EventStream, ServerGone, invalid_reply
from trainer.text.rollouts.engines.vllm.completions import (
    COMPLETIONS,
    Token,
    answer_body,
    choice_of,
    segment,
    tokens_of,
)
from trainer.text.rollouts.records import Progress, SampleRequest, Source, Trajectory
from trainer.text.rollouts.streaming import Measures, StepEvents

# Each open request holds a thread of the trainer.
MOST_THREADS = 256


class Answering(Protocol):
    """A server that answers requests, and is started again when it dies."""

    def complete(self, body: Mapping[str, Any]) -> Any: ...

    def open_events(self, body: Mapping[str, Any]) -> EventStream: ...

    def restart(self, why: str, missing: int) -> None: ...

    def count_answer(self) -> None: ...


@dataclass(eq=False)
class Writing:
    """An answer in progress: `tokens` have arrived, the first `reported` have been reported."""

    request: SampleRequest
    sample: int
    tokens: list[Token] = field(default_factory=list)
    reported: int = 0
    ended: bool = False
    running: bool = False
    given_up: bool = False
    events: EventStream | None = None
    error: Exception | None = None

    @property
    def position(self) -> int:
        return self.request.written + len(self.tokens)

    @property
    def has_begun(self) -> bool:
        """Whether the server has sampled a token of it."""
        return len(self.tokens) > (self.request.forced is not None)

    @property
    def context(self) -> tuple[int, ...]:
        return self.request.context + tuple(token.id for token in self.tokens)


@dataclass
class AnswerStream:
    """See `Stream`. `rows` requests are open at a time; `version` is that of the weights."""

    server: Answering
    eos_ids: Sequence[int]
    vocabulary: int
    sampling: Sampling
    noise: Noise
    measures: Measures
    version: int
    rows: int
    _writings: list[Writing] = field(default_factory=list)
    _open: dict[int, Writing] = field(default_factory=dict)
    _done: int = 0

    def __post_init__(self) -> None:
        self._arrival = threading.Condition()
        self._pool = ThreadPoolExecutor(min(self.rows, MOST_THREADS))

    # The protocol.

    def submit(self, requests: Sequence[SampleRequest]) -> list[int]:
        first = len(self._writings)
        for request in requests:
            for sample in request.samples:
                writing = self._new(request, sample)
                self._open[len(self._writings)] = writing
                self._writings.append(writing)
        return list(range(first, len(self._writings)))

    def step(self, tokens: int = 1) -> StepEvents:
        while True:
            self._start(watched=True)
            with self._arrival:
                self._arrival.wait_for(lambda: self._can_report(tokens))
                if not self._has_failed():
                    return self._report(tokens)
            self._recover()

    def finish(self, progress: Progress | None = None) -> dict[int, Trajectory]:
        while any(not writing.ended for writing in self._open.values()):
            self._start(watched=False)
            self._wait_for_all(progress)
            if self._has_failed():
                self._recover()
        self._count_ended(progress)
        for writing in self._open.values():
            writing.reported = len(writing.tokens)
        return self._take_ended()

    def abort(self, handles: Sequence[int]) -> dict[int, Trajectory]:
        writings = {handle: self._open[handle] for handle in handles}
        with self._arrival:
            paused = {handle: self._trajectory(writing) for handle, writing in writings.items()}
            self._give_up(writings.values())
        for handle in handles:
            self._open.pop(handle, None)
        return paused

    def fork(
        self, handle: int, tokens: int, samples: Sequence[int], forced: Sequence[int] = ()
    ) -> list[int]:
        writing = self._open[handle]
        reported = writing.request.written + writing.reported
        if not 1 <= tokens <= reported:
            raise ValueError(f"A branch shares 1 to {reported} reported tokens, not {tokens}.")
        request = replace(
            writing.request,
            prefix=self._trajectory(writing).first(tokens),
            allowance=self._limit(writing.request) - tokens,
        )
        next_ids: Sequence[int | None] = forced or [None] * len(samples)
        return self.submit(
            [
                replace(request, samples=(sample,), forced=id)
                for sample, id in zip(samples, next_ids, strict=True)
            ]
        )

    def close(self) -> None:
        with self._arrival:
            self._give_up(self._open.values())
        self._open = {}
        # Requests without a thread are not sent.
        self._pool.shutdown(cancel_futures=True)

    # Answers.

    def _new(self, request: SampleRequest, sample: int) -> Writing:
        writing = Writing(request, sample)
        whole = request.prefix is not None and not request.prefix.truncated
        if whole or self._limit(request) <= request.written:
            writing.ended = True
        elif request.forced is not None:
            self._add(writing, [Token(request.forced)])
        return writing

    def _limit(self, request: SampleRequest) -> int:
        """The length at which an answer stops, its prefix included."""
        return request.written + request.allowed(self.sampling.max_new_tokens)

    def _add(self, writing: Writing, tokens: Sequence[Token]) -> None:
        writing.tokens.extend(tokens)
        stopped = bool(writing.tokens) and writing.tokens[-1].id in self.eos_ids
        writing.ended = stopped or writing.position == self._limit(writing.request)

    def _trajectory(self, writing: Writing) -> Trajectory:
        """The answer as far as it has arrived."""
        request, tokens = writing.request, writing.tokens
        forced = int(request.forced is not None and bool(tokens))
        parts: list[tuple[Sequence[Token], Source]] = [
            (tokens[:forced], "forced"),
            (tokens[forced:], "student"),
        ]
        segments = [
            segment(part, source, self.sampling, self.version) for part, source in parts if part
        ]
        if tokens:
            truncated = tokens[-1].id not in self.eos_ids
        else:
            truncated = request.prefix is None or request.prefix.truncated
        return request.answered(writing.sample, tuple(segments), truncated)

    # Reports.

    def _can_report(self, tokens: int) -> bool:
        """Whether every answer that the server is writing has so many tokens more, or has ended.

        An answer without a first token is not waited for: the server may begin it when others end.
        """
        ready = [
            writing.ended or len(writing.tokens) - writing.reported >= tokens
            for writing in self._open.values()
            if writing.ended or len(writing.tokens) > writing.reported or writing.has_begun
        ]
        return self._has_failed() or not self._open or (bool(ready) and all(ready))

    def _report(self, tokens: int) -> StepEvents:
        rows: list[tuple[int, int, int, Token]] = []
        for handle, writing in self._open.items():
            new = writing.tokens[writing.reported : writing.reported + tokens]
            first = writing.request.written + writing.reported
            rows += [(step, handle, first + step, token) for step, token in enumerate(new)]
            writing.reported += len(new)
        rows.sort(key=lambda row: row[:2])
        written = [token for *_, token in rows]
        # A forced token has no likely tokens beside it.
        unknown = ((-1, np.nan),) * self.measures.top
        tops = np.array([token.top or unknown for token in written], dtype=np.float64)
        tops = tops.reshape(len(rows), self.measures.top, 2)
        return StepEvents(
            np.array([handle for _, handle, _, _ in rows], dtype=np.int64),
            np.array([token.id for token in written], dtype=np.int64),
            np.array([position for _, _, position, _ in rows], dtype=np.int64),
            segment(written, "student", self.sampling, self.version).logprobs,
            None,
            tops[..., 0].astype(np.int64) if self.measures.top else None,
            tops[..., 1].astype(np.float32) if self.measures.top else None,
            self._take_ended(),
        )

    def _count_ended(self, progress: Progress | None) -> None:
        awaited = [writing for writing in self._writings if not writing.given_up]
        while self._done < sum(writing.ended for writing in awaited):
            self._done += 1
            if progress:
                progress(self._done, len(awaited))

    def _take_ended(self) -> dict[int, Trajectory]:
        """What has ended and is reported, by handle; it is open no longer."""
        ended = {
            handle: self._trajectory(writing)
            for handle, writing in sorted(self._open.items())
            if writing.ended and (writing.reported == len(writing.tokens))
        }
        self._open = {handle: w for handle, w in self._open.items() if handle not in ended}
        return ended

    # Failures.

    def _has_failed(self) -> bool:
        return any(writing.error for writing in self._open.values())

    def _wait_for_all(self, progress: Progress | None) -> None:
        """Wait until no request is open; count the answers as they end."""
        while True:
            with self._arrival:
                ended = self._ended()
                is_running = self._is_running()
            self._count_ended(progress)
            if not is_running:
                return
            with self._arrival:
                while self._is_running() and self._ended() == ended:
                    self._arrival.wait()

    def _is_running(self) -> bool:
        return any(writing.running for writing in self._open.values())

    def _ended(self) -> int:
        return sum(writing.ended for writing in self._open.values())

    def _recover(self) -> None:
        """Start the server again; tokens that have arrived are kept.

        Raises Failure if the server refused a request, or if it keeps dying.
        """
        # Answers to the other open requests may still arrive.
        self._wait_for_all(None)
        errors = [writing.error for writing in self._open.values() if writing.error]
        for error in errors:
            if not isinstance(error, ServerGone):
                raise error
        self.server.restart(str(errors[0]), len(self._open) - self._ended())

    # Requests.

    def _start(self, watched: bool) -> None:
        for writing in self._open.values():
            if not writing.ended and not writing.running:
                writing.running, writing.error = True, None
                self._pool.submit(self._run, writing, self._body(writing), watched)

    def _body(self, writing: Writing) -> dict[str, Any]:
        # A server counts its noise from a request's first token, so the rest of an answer needs
        # another seed than its beginning.
        position = self.noise.offset + writing.position
        purpose = f"{self.noise.purpose}+{position}" if position else self.noise.purpose
        noise = replace(self.noise, purpose=purpose, offset=0)
        (key,) = rollout_keys(noise, [(writing.request.problem, writing.sample)])
        return answer_body(
            writing.context,
            self._limit(writing.request) - writing.position,
            # vLLM takes signed 64-bit seeds.
            int(key >> np.uint64(1)),
            self.sampling,
            self.eos_ids,
            self.measures.top,
        )

    def _run(self, writing: Writing, body: Mapping[str, Any], watched: bool) -> None:
        """In a thread of its own: take what the server answers until it ends."""
        error: Exception | None = None
        try:
            if writing.given_up:
                return
            if watched:
                self._watch(writing, body)
            else:
                self._receive(writing, self.server.complete(body))
            if not writing.ended and not writing.given_up:
                raise ServerGone(f"{COMPLETIONS}: an answer ended before its last token")
        except Exception as raised:
            error = raised
        finally:
            with self._arrival:
                writing.running, writing.events = False, None
                writing.error = None if writing.given_up or writing.ended else error
                self._arrival.notify_all()

    def _watch(self, writing: Writing, body: Mapping[str, Any]) -> None:
        events = self.server.open_events(body)
        with self._arrival:
            if writing.given_up:
                return
            writing.events = events
        for event in events:
            self._receive(writing, event)

    def _receive(self, writing: Writing, reply: Any) -> None:
        choice = choice_of(reply)
        tokens = tokens_of(choice, self.vocabulary, self.measures.top)
        with self._arrival:
            if writing.given_up:
                return
            stops = [index for index, token in enumerate(tokens) if token.id in self.eos_ids]
            limit = self._limit(writing.request) - writing.position
            if len(tokens) > limit or (stops and stops[0] < len(tokens) - 1):
                raise invalid_reply(COMPLETIONS, choice)
            self._add(writing, tokens)
            if writing.ended:
                self.server.count_answer()
            self._arrival.notify_all()

    def _give_up(self, writings: Iterable[Writing]) -> None:
        for writing in writings:
            writing.given_up = True
            if writing.events:
                writing.events.close()
