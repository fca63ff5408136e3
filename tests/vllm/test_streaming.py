"""Streams of answers from a real vLLM server: watched, paused, resumed, branched, and interrupted
by the death of the server.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
import torch

from tests.trainer.text.tiny import save_folder
from trainer.spec.networks import Network
from trainer.spec.operation import VllmSampler
from trainer.spec.sampling import Sampling
from trainer.text.language.models import load
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.vllm.client import _Connection
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.engines.vllm.server import Launch
from trainer.text.rollouts.records import SampleRequest, Trajectory
from trainer.text.rollouts.streaming import Measures, Stream

ROUNDING = 1e-4
GREEDY = Sampling(temperature=0, max_new_tokens=40)
REQUESTS = [SampleRequest(f"p{index}", tuple(range(3, 8 + index)), (0,)) for index in range(6)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmEngine]:
    folder = save_folder(
        tmp_path_factory.mktemp("model"),
        hidden_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=96,
        initializer_range=0.15,
    )
    launch = Launch(VllmSampler(memory=0.25, tolerance=0.01), "float32", 64, eager=True)
    student = load(Network(model=f"file:{folder}"))
    engine = VllmEngine(student, launch, 16, tmp_path_factory.mktemp("server"))
    try:
        engine.update(0)
        yield engine
    finally:
        engine.close()


def watch(stream: Stream, tokens: int, answers: int) -> dict[int, Trajectory]:
    """The answers of a stream until so many have ended; their events tell the same."""
    ids: dict[int, list[int]] = defaultdict(list)
    logprobs: dict[int, list[float]] = defaultdict(list)
    ended: dict[int, Trajectory] = {}
    while len(ended) < answers:
        events = stream.step(tokens)
        columns = zip(events.handles, events.ids, events.positions, events.logprobs, strict=True)
        for handle, id, position, logprob in columns:
            assert position == len(ids[handle])
            ids[handle].append(id)
            logprobs[handle].append(logprob)
        ended |= events.ended
    for handle, answer in ended.items():
        assert tuple(ids[handle]) == answer.ids
        np.testing.assert_array_equal(logprobs[handle], answer.logprobs)
    return ended


@pytest.mark.parametrize("tokens", [1, 7])
def test_watched_answers_are_those_that_are_written_at_once(
    engine: VllmEngine, tokens: int
) -> None:
    at_once = engine.write(REQUESTS, GREEDY, Noise(0, 0))
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        handles = stream.submit(REQUESTS)
        watched = watch(stream, tokens, len(handles))
    assert [watched[handle].ids for handle in handles] == [answer.ids for answer in at_once]
    assert max(answer.length for answer in at_once) > 10


def test_a_paused_answer_is_a_beginning_that_resumes_by_its_ids(engine: VllmEngine) -> None:
    whole = engine.write(REQUESTS, GREEDY, Noise(0, 0))
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        handles = stream.submit(REQUESTS)
        ended = stream.step(2).ended
        paused = stream.abort([handle for handle in handles if handle not in ended])
        with pytest.raises(KeyError):
            stream.abort(list(paused)[:1])
        for handle, answer in paused.items():
            assert answer.ids == whole[handle].ids[: answer.length]
        resumed = stream.submit(
            [SampleRequest(a.problem, a.prompt, (0,), prefix=a) for a in paused.values()]
        )
        answers = stream.finish()
    assert paused
    for before, handle in zip(paused, resumed, strict=True):
        assert answers[handle].ids == whole[before].ids
        assert answers[handle].truncated == whole[before].truncated


def test_the_server_gives_up_aborted_answers(engine: VllmEngine) -> None:
    request = SampleRequest("p", (3, 4), tuple(range(16)))
    with closing(engine.stream(Sampling(max_new_tokens=50), Noise(0, 0))) as stream:
        handles = stream.submit([request])
        ended = stream.step().ended
        stream.abort([handle for handle in handles if handle not in ended])
        while requests_at_server(engine):
            time.sleep(0.1)


def requests_at_server(engine: VllmEngine) -> float:
    """Requests that the server says it is working on."""
    assert engine.server is not None
    connection = _Connection(engine.server.socket, 60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    counts = [float(line.split()[-1]) for line in lines if line.startswith(names)]
    assert len(counts) == 2
    return sum(counts)


def test_branches_share_their_beginning_and_take_forced_tokens(engine: VllmEngine) -> None:
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        (handle,) = stream.submit([SampleRequest("p", (3, 4, 5, 6), (0,))])
        stream.step(4)
        branches = stream.fork(handle, 3, (1, 2), (7, 8))
        answers = stream.finish()
    parent = answers[handle]
    for branch, sample, id in zip(branches, (1, 2), (7, 8), strict=True):
        answer = answers[branch]
        assert answer.ids[:4] == (*parent.ids[:3], id)
        assert (answer.sample, answer.parent, answer.inherited) == (sample, 0, 3)
        assert [segment.source for segment in answer.segments] == ["student", "forced", "student"]
        assert answer.length <= 40
        # What follows is the model's own continuation.
        again = engine.write(
            [SampleRequest("p", (3, 4, 5, 6), (0,), prefix=answer.first(4))], GREEDY, Noise(0, 0)
        )
        assert again[0].ids == answer.ids


def test_likely_tokens_and_scores_are_those_of_the_students_distribution(
    engine: VllmEngine,
) -> None:
    prompt = (3, 4, 5, 6)
    with closing(
        engine.stream(Sampling(max_new_tokens=12), Noise(0, 0), Measures(top=3))
    ) as stream:
        (handle,) = stream.submit([SampleRequest("p", prompt, (0,))])
        events = [stream.step(4)]
        while handle not in events[-1].ended:
            events.append(stream.step(4))
    answer = events[-1].ended[handle]
    with torch.no_grad():
        logits_TV = engine.student.model(torch.tensor([prompt + answer.ids])).logits[0, 3:-1]
    law_TV = logits_TV[:, : engine.student.vocabulary].log_softmax(-1)
    top = law_TV.topk(3)
    ids = [event.top_ids for event in events if event.top_ids is not None]
    logprobs = [event.top_logprobs for event in events if event.top_logprobs is not None]
    np.testing.assert_array_equal(np.concatenate(ids), top.indices)
    np.testing.assert_allclose(np.concatenate(logprobs), top.values, atol=ROUNDING)
    own = law_TV.gather(-1, torch.tensor(answer.ids)[:, None])[:, 0]
    np.testing.assert_allclose(answer.logprobs, own, atol=ROUNDING)
    (scores,) = engine.score([(prompt, answer.ids)])
    np.testing.assert_allclose(scores, own, atol=ROUNDING)


def test_a_server_that_dies_while_it_is_watched_loses_no_token(engine: VllmEngine) -> None:
    assert engine.server is not None
    at_once = engine.write(REQUESTS, GREEDY, Noise(0, 0))
    messages: list[str] = []
    engine.log_warning, dying = messages.append, engine.server.group
    ended: dict[int, Trajectory] = {}
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        handles = stream.submit(REQUESTS)
        ended |= stream.step(1).ended
        os.killpg(dying, signal.SIGKILL)
        while len(ended) < len(handles):
            ended |= stream.step(5).ended
    assert [ended[handle].ids for handle in handles] == [answer.ids for answer in at_once]
    assert len(messages) == 1 and "started again" in messages[0]
