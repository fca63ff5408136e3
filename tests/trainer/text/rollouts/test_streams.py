"""Answers that are paused, resumed, branched, forced and watched are those written at once."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.rollouts.test_sampling import NOISE, many_ends, requests, same
from tests.trainer.text.tiny import language_model
from trainer.engine.distributed.world import World
from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines import decoder
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import InProcessEngine, sample
from trainer.text.rollouts.records import SampleRequest, Trajectory
from trainer.text.rollouts.streaming import Measures, StepEvents, Stream, UnableEngine, write

LAW = Sampling(max_new_tokens=20, temperature=1.2, top_k=20)


def engine(rows: int = 64, shape: str = "qwen2") -> InProcessEngine:
    return InProcessEngine(many_ends(shape), lambda: rows, version=3)


def alike(first: Trajectory, second: Trajectory) -> bool:
    """The same answer, but perhaps in other segments."""
    return same(first, second) and np.allclose(first.logprobs, second.logprobs, atol=2e-5)


def stepped(stream: Stream, tokens: int = 1) -> dict[int, Trajectory]:
    """Step until no answer is left."""
    ended: dict[int, Trajectory] = {}
    while len((events := stream.step(tokens)).handles) or events.ended:
        ended |= events.ended
    return ended


@settings(deadline=None, max_examples=6)
@given(rows=st.integers(2, 40), tokens=st.integers(1, 30))
def test_watching_an_answer_does_not_change_a_bit_of_it(rows: int, tokens: int) -> None:
    stream = engine(rows).stream(LAW, NOISE, Measures(entropy=True, top=3))
    handles = stream.submit(requests(samples=2))
    watched = stepped(stream, tokens)
    for handle, answer in zip(
        handles, write(engine(rows), requests(samples=2), LAW, NOISE), strict=True
    ):
        assert same(watched[handle], answer)
        np.testing.assert_array_equal(watched[handle].logprobs, answer.logprobs)
        np.testing.assert_array_equal(watched[handle].entropies, answer.entropies)


def test_the_columns_are_the_tokens_of_the_answers() -> None:
    model = many_ends("qwen3")
    stream = InProcessEngine(model, lambda: 5).stream(LAW, NOISE, Measures(entropy=True, top=3))
    stream.submit(requests())
    columns: list[StepEvents] = []
    ended: dict[int, Trajectory] = {}
    while len((events := stream.step(2)).handles):
        columns.append(events)
        ended |= events.ended
    for handle, answer in ended.items():
        of_answer = [events.handles == handle for events in columns]

        def column(name: str, of_answer: list[object] = of_answer) -> np.ndarray:
            return np.concatenate(
                [getattr(e, name)[mask] for e, mask in zip(columns, of_answer, strict=True)]
            )

        assert tuple(column("ids")) == answer.ids
        assert column("positions").tolist() == list(range(answer.length))
        np.testing.assert_array_equal(column("logprobs"), answer.logprobs)
        np.testing.assert_array_equal(column("entropies"), answer.entropies)
        with torch.no_grad():
            logits_TV = model.model(torch.tensor([answer.prompt + answer.ids])).logits[
                0, len(answer.prompt) - 1 : -1, : model.vocabulary
            ]
        expected = logits_TV.log_softmax(-1).topk(3, dim=-1)
        np.testing.assert_array_equal(column("top_ids"), expected.indices)
        np.testing.assert_allclose(column("top_logprobs"), expected.values, atol=2e-5)
        np.testing.assert_allclose(column("top_masses"), expected.values.exp().sum(-1), atol=2e-5)


def test_what_is_not_asked_for_is_not_reported() -> None:
    stream = engine().stream(LAW, NOISE)
    stream.submit(requests())
    events = stream.step()
    assert len(events.handles) and events.entropies is None
    assert events.top_ids is None and events.top_masses is None


@settings(deadline=None, max_examples=8)
@given(rows=st.integers(2, 20), pauses=st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_an_answer_that_is_paused_and_resumed_is_the_uninterrupted_one(
    rows: int, pauses: list[int]
) -> None:
    expected = write(engine(), requests(samples=2), LAW, NOISE)
    stream = engine(rows).stream(LAW, NOISE)
    by_handle = dict(enumerate(requests(samples=2)))
    open_requests = [
        SampleRequest(request.problem, request.prompt, (sample,))
        for request in by_handle.values()
        for sample in request.samples
    ]
    ended: list[Trajectory] = []
    for tokens in pauses:
        handles = stream.submit(open_requests)
        if tokens:
            ended += stream.step(tokens).ended.values()
        names = {(answer.problem, answer.sample) for answer in ended}
        paused = stream.abort(
            [
                handle
                for handle, request in zip(handles, open_requests, strict=True)
                if (request.problem, request.samples[0]) not in names
            ]
        )
        open_requests = [
            SampleRequest(answer.problem, answer.prompt, (answer.sample,), prefix=answer)
            for answer in paused.values()
        ]
    stream.submit(open_requests)
    ended += stream.finish().values()
    by_name = {(answer.problem, answer.sample): answer for answer in ended}
    assert len(by_name) == len(ended) == len(expected)
    assert all(alike(by_name[answer.problem, answer.sample], answer) for answer in expected)


def test_a_resumed_answer_keeps_its_segments_and_has_the_rest_of_its_allowance() -> None:
    stream = engine().stream(Sampling(max_new_tokens=12), NOISE)
    (handle,) = stream.submit([SampleRequest("p", (3, 4), (0,), allowance=3)])
    first = stream.finish()[handle]
    assert first.length == 3 and first.truncated
    later = InProcessEngine(many_ends("qwen2"), lambda: 4, version=4)
    (second,) = write(
        later,
        [SampleRequest("p", (3, 4), (0,), prefix=first, allowance=100)],
        Sampling(max_new_tokens=12),
        NOISE,
    )
    assert second.segments[0] is first.segments[0]
    assert second.versions == (3, 4) and second.length <= 12
    (unchanged,) = write(
        later, [SampleRequest("p", (3, 4), (0,), prefix=first)], Sampling(max_new_tokens=3), NOISE
    )
    assert unchanged.ids == first.ids


@pytest.mark.parametrize("rows", [2, 40])
@pytest.mark.parametrize("shared", [0, 2, 4])
def test_branches_share_the_cache_and_go_on_as_if_their_prefix_had_been_read(
    rows: int, shared: int
) -> None:
    own = engine(rows)
    stream = own.stream(LAW, NOISE)
    handles = stream.submit(requests((5, 9)))
    stream.step(5)
    handle = handles[0]
    parent = write(own, requests((5, 9)), LAW, NOISE)[0]
    assert parent.length > 5
    forced = stream.fork(handle, shared, (7, 8), (11, 12))
    free = stream.fork(handle, shared, (9,))
    ended = stream.finish()
    assert ended[handle].ids == parent.ids
    prefix = parent.first(shared)
    expected = write(
        own,
        [
            SampleRequest(parent.problem, parent.prompt, (7,), prefix, forced=11),
            SampleRequest(parent.problem, parent.prompt, (8,), prefix, forced=12),
            SampleRequest(parent.problem, parent.prompt, (9,), prefix),
        ],
        LAW,
        NOISE,
    )
    for branch, answer in zip((*forced, *free), expected, strict=True):
        assert alike(ended[branch], answer)
        assert ended[branch].parent == parent.sample and ended[branch].inherited == shared
        np.testing.assert_array_equal(ended[branch].logprobs[:shared], parent.logprobs[:shared])


def test_a_forced_token_is_written_with_its_log_prob_in_a_segment_of_its_own() -> None:
    model = many_ends("llama")
    (answer,) = write(
        InProcessEngine(model, lambda: 4),
        [SampleRequest("p", (3, 4, 8), (0,), forced=17)],
        Sampling(max_new_tokens=6),
        NOISE,
    )
    assert answer.ids[0] == 17 and answer.segments[0].ids == (17,)
    assert [segment.source for segment in answer.segments] == ["forced", "student"]
    (expected,) = InProcessEngine(model, lambda: 4).score([(answer.prompt, answer.ids)])
    np.testing.assert_allclose(answer.logprobs, expected, atol=2e-5)


def test_a_forced_end_token_ends_the_answer() -> None:
    (answer,) = write(
        engine(), [SampleRequest("p", (3, 4), (0,), forced=5)], Sampling(max_new_tokens=6), NOISE
    )
    assert answer.ids == (5,) and not answer.truncated


def test_answers_that_come_later_take_the_places_of_those_that_ended() -> None:
    own = engine(rows=4)
    stream = own.stream(LAW, NOISE)
    first, second = requests(samples=1)[:4], requests(samples=1)[4:]
    stream.submit(first)
    stream.step(2)
    stream.submit(second)
    ended = stream.finish()
    expected = write(engine(), requests(samples=1), LAW, NOISE)
    assert all(alike(ended[handle], answer) for handle, answer in enumerate(expected))


def test_an_answer_that_has_ended_can_be_neither_paused_nor_branched() -> None:
    stream = engine().stream(Sampling(max_new_tokens=1), NOISE)
    (handle, *_) = stream.submit(requests())
    stream.finish()
    with pytest.raises(KeyError):
        stream.abort([handle])
    with pytest.raises(KeyError):
        stream.fork(handle, 1, (5,))


def test_an_answer_that_waits_for_a_row_is_paused_without_a_token() -> None:
    stream = engine(rows=1).stream(LAW, NOISE)
    handles = stream.submit(requests())
    stream.step()
    paused = stream.abort(handles)
    assert sorted(answer.length for answer in paused.values()) == [0] * 7 + [1]
    assert all(len(answer.logprobs) == answer.length for answer in paused.values())


def test_a_network_on_the_fallback_refuses_what_it_cannot_do_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = InProcessEngine(many_ends("llama"), lambda: 5)
    expected = sample(own.language_model, requests(), LAW, NOISE)
    monkeypatch.setattr(decoder, "unsupported", lambda model: "told to")
    assert own.abilities == {"score"}
    stream = own.stream(LAW, NOISE)
    stream.submit(requests())
    for refused in (
        lambda: stream.step(),
        lambda: stream.abort([0]),
        lambda: stream.fork(0, 1, (1,)),
        lambda: stream.submit([SampleRequest("p", (3,), (0,), forced=4)]),
        lambda: own.stream(LAW, NOISE, Measures(top=2)),
    ):
        with pytest.raises(UnableEngine, match=r"transformers' generate.*\."):
            refused()
    assert all(
        alike(answer, other)
        for answer, other in zip(stream.finish().values(), expected, strict=True)
    )


def test_a_prefix_is_continued_by_the_fallback_as_by_the_sampler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, noise = InProcessEngine(many_ends("llama"), lambda: 5), Noise(3, 1)
    begun = [
        dataclasses.replace(request, allowance=allowance)
        for request, allowance in zip(requests(), (1, 2, 3, 1, 2, 3, 1, 2), strict=True)
    ]
    prefixes = write(own, begun, LAW, noise)
    further = [
        SampleRequest(prefix.problem, prefix.prompt, (0,), prefix)
        for prefix in prefixes
        if prefix.truncated
    ]
    expected = write(own, further, LAW, noise)
    monkeypatch.setattr(decoder, "unsupported", lambda model: "told to")
    for answer, other in zip(write(own, further, LAW, noise), expected, strict=True):
        assert alike(answer, other)


@pytest.mark.parametrize("shape", ["llama", "qwen3"])
def test_given_ids_are_scored_under_the_networks_own_distribution(shape: str) -> None:
    model = language_model(shape, "float32")
    texts = [((3, 4, 5), (6, 7)), ((9,), (10, 11, 12, 13))]
    for (prompt, ids), scores in zip(
        texts, InProcessEngine(model, lambda: 2).score(texts), strict=True
    ):
        with torch.no_grad():
            logits_TV = model.model(torch.tensor([prompt + ids])).logits[0, :, : model.vocabulary]
        own_TV = logits_TV.log_softmax(-1)[len(prompt) - 1 : -1]
        expected = own_TV[torch.arange(len(ids)), torch.tensor(ids)]
        np.testing.assert_allclose(scores, expected, atol=2e-5)


class ThreadWorld(World):
    """Ranks that are threads of this process."""

    def __init__(self, rank: int, shared: list[list[Any]], barrier: threading.Barrier) -> None:
        super().__init__()
        self.rank, self.size, self._shared, self._barrier = rank, len(shared), shared, barrier

    def concatenate(self, local: Sequence[Any]) -> list[Any]:
        self._barrier.wait(60)
        self._shared[self.rank] = list(local)
        self._barrier.wait(60)
        return [item for items in self._shared for item in items]


def steered(world: World) -> tuple[list[StepEvents], dict[int, Trajectory]]:
    """Three answers are paused, branched or resumed after four tokens; all are written out."""
    own = InProcessEngine(many_ends("qwen2"), lambda: 64, world=world)
    stream = own.stream(LAW, NOISE)
    stream.submit(requests(samples=2))
    events = [stream.step(3), stream.step(1)]
    open_handles = [handle for handle in range(16) if all(handle not in e.ended for e in events)]
    stream.fork(open_handles[0], 2, (5, 6), (11, 12))
    paused = stream.abort(open_handles[1:3])
    stream.submit(
        [
            SampleRequest(answer.problem, answer.prompt, (answer.sample,), answer)
            for answer in paused.values()
        ]
    )
    events.append(stream.step(2))
    return events, {**{h: a for e in events for h, a in e.ended.items()}, **stream.finish()}


def test_ranks_take_equal_steps_see_the_same_events_and_write_what_one_process_writes() -> None:
    alone, expected = steered(World())
    shared: list[list[Any]] = [[], []]
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(
            lambda rank: steered(ThreadWorld(rank, shared, barrier)), range(2)
        )
    for one, other, single in zip(first[0], second[0], alone, strict=True):
        np.testing.assert_array_equal(one.handles, other.handles)
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.handles, single.handles)
        np.testing.assert_array_equal(one.ids, single.ids)
    assert list(first[1]) == list(second[1])
    assert all(alike(first[1][handle], answer) for handle, answer in expected.items())
