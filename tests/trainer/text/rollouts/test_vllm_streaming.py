"""Streams over a vLLM server: what it is asked for, what it tells of tokens, and what it lacks."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.text.rollouts.rounds import prompts
from tests.trainer.text.rollouts.test_vllm_engine import engine_over
from tests.trainer.text.rollouts.test_watching import AtRandom, rounds
from tests.trainer.text.rollouts.vllm_double import Manners
from trainer.engine.outcome import Failure
from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import SampleRequest, Trajectory
from trainer.text.rollouts.streaming import Measures, UnableEngine, require

GREEDY = Sampling(temperature=0, max_new_tokens=12)
REQUESTS = [SampleRequest(name, (3, 4, 5 + index), (0,)) for index, name in enumerate("abc")]


def test_watched_answers_are_those_that_are_written_at_once(tmp_path: Path) -> None:
    engine = engine_over(Manners(), tmp_path)
    law = Sampling(max_new_tokens=12)
    at_once = engine.write(REQUESTS, law, Noise(0, 0))
    ids: dict[int, list[int]] = {0: [], 1: [], 2: []}
    ended: dict[int, Trajectory] = {}
    with closing(engine.stream(law, Noise(0, 0), Measures(top=2))) as stream:
        stream.submit(REQUESTS)
        while len(ended) < 3:
            events = stream.step(5)
            assert events.entropies is None and events.top_masses is not None
            assert events.top_logprobs is not None and (events.top_masses <= 1 + 1e-6).all()
            assert (np.diff(events.top_logprobs, axis=1) <= 0).all()
            for handle, id, position in zip(
                events.handles, events.ids, events.positions, strict=True
            ):
                assert position == len(ids[handle])
                ids[handle].append(id)
            ended |= events.ended
        assert not len(stream.step().ids)
    for handle, answer in enumerate(at_once):
        assert tuple(ids[handle]) == answer.ids == ended[handle].ids
        np.testing.assert_array_equal(ended[handle].logprobs, answer.logprobs)
    engine.close()


def test_a_paused_answer_has_what_has_arrived_and_the_server_gives_it_up(tmp_path: Path) -> None:
    manners = Manners(gate=threading.Semaphore(0))
    engine = engine_over(manners, tmp_path)
    assert manners.gate is not None
    (whole,) = engine.write(REQUESTS[:1], GREEDY, Noise(0, 0))
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        (handle,) = stream.submit(REQUESTS[:1])
        manners.gate.release(2)
        assert stream.step(2).ids.tolist() == list(whole.ids[:2])
        paused = stream.abort([handle])[handle]
        assert paused.ids == whole.ids[:2] and paused.truncated
        manners.gate.release(50)
        while not manners.given_up:
            time.sleep(0.01)
        (handle,) = stream.submit([SampleRequest("a", REQUESTS[0].prompt, (0,), prefix=paused)])
        resumed = stream.finish()[handle]
    assert resumed.ids == whole.ids
    first, _, last = manners.bodies
    assert last["prompt"] == [*REQUESTS[0].prompt, *paused.ids]
    assert last["max_tokens"] == 10 and last["seed"] != first["seed"]
    engine.close()


def test_a_whole_answer_ends_at_once_when_it_is_resumed(tmp_path: Path) -> None:
    manners = Manners()
    engine = engine_over(manners, tmp_path)
    prompt = REQUESTS[0].prompt
    (answer,) = engine.write(REQUESTS[:1], GREEDY, Noise(0, 0))
    asked = len(manners.bodies)
    full = SampleRequest("a", prompt, (0,), prefix=answer)
    (again,) = engine.write([full], GREEDY, Noise(0, 0))
    assert again.ids == answer.ids and len(manners.bodies) == asked
    engine.close()


def test_branches_share_a_prefix_and_what_was_forced_has_no_log_prob(tmp_path: Path) -> None:
    manners = Manners(gate=threading.Semaphore(3))
    engine = engine_over(manners, tmp_path)
    law = Sampling(max_new_tokens=12)
    assert manners.gate is not None
    with closing(engine.stream(law, Noise(0, 0))) as stream:
        (handle,) = stream.submit(REQUESTS[:1])
        ids = stream.step(3).ids.tolist()
        with pytest.raises(ValueError, match="1 to 3 reported tokens"):
            stream.fork(handle, 4, [1])
        branches = stream.fork(handle, 2, [1, 2], [7, 8])
        manners.gate.release(100)
        events = stream.step()
        forced = events.ids[np.isin(events.handles, branches)]
        assert forced.tolist() == [7, 8]
        assert np.isnan(events.logprobs[np.isin(events.handles, branches)]).all()
        answers = events.ended | stream.finish()
    for branch, id in zip(branches, (7, 8), strict=True):
        answer = answers[branch]
        assert answer.ids[:3] == (*ids[:2], id) and (answer.parent, answer.inherited) == (0, 2)
        assert [segment.source for segment in answer.segments[:2]] == ["student", "forced"]
        assert np.isnan(answer.logprobs[2]) and np.isfinite(np.delete(answer.logprobs, 2)).all()
        assert answer.length <= 12
    engine.close()


def test_a_server_that_dies_while_it_is_watched_is_asked_for_the_rest_only(tmp_path: Path) -> None:
    manners = Manners(breaks_after=[8, 6])
    warnings: list[str] = []
    engine = engine_over(manners, tmp_path, log_warning=warnings.append)
    at_once = engine.write(REQUESTS, GREEDY, Noise(0, 0))
    asked = len(manners.bodies)
    ended: dict[int, Trajectory] = {}
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        stream.submit(REQUESTS)
        while len(ended) < 3:
            ended |= stream.step().ended
    assert [ended[handle].ids for handle in range(3)] == [answer.ids for answer in at_once]
    again = manners.bodies[asked + 3 :]
    assert manners.started == 3 and len(warnings) == 2
    assert sum(body["max_tokens"] for body in again) < 12 * len(again)
    engine.close()


def test_a_server_that_sends_nothing_ends_the_run(tmp_path: Path) -> None:
    engine = engine_over(Manners(breaks_after=[0] * 9), tmp_path)
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        stream.submit(REQUESTS)
        with pytest.raises(Failure, match="died 4 times in a row"):
            stream.step()


def test_a_refusal_of_a_watched_answer_is_quoted(tmp_path: Path) -> None:
    engine = engine_over(Manners(reply=lambda body: (400, {"error": "too long"})), tmp_path)
    with closing(engine.stream(GREEDY, Noise(0, 0))) as stream:
        stream.submit(REQUESTS)
        with pytest.raises(Failure, match=r"vLLM refused a request.*too long"):
            stream.step()
    engine.close()


@pytest.mark.parametrize(
    ("measures", "temperature", "sentence"),
    [
        (Measures(entropy=True), 1.0, "does not report the entropy"),
        (Measures(top=21), 1.0, "20 most likely tokens at most, not 21"),
        (Measures(top=4), 0.7, "at temperature 1 only, not at 0.7"),
    ],
)
def test_what_a_server_does_not_report_is_refused(
    tmp_path: Path, measures: Measures, temperature: float, sentence: str
) -> None:
    engine = engine_over(Manners(), tmp_path)
    with pytest.raises(UnableEngine, match=sentence):
        engine.stream(Sampling(temperature=temperature), Noise(0, 0), measures)
    engine.close()


def test_a_need_that_the_server_lacks_is_named(tmp_path: Path) -> None:
    engine = engine_over(Manners(), tmp_path)
    require(engine, frozenset({"step", "abort", "fork", "forced", "score", "top"}), "This")
    with pytest.raises(UnableEngine, match=r"The tree controller needs .* can do: entropy"):
        require(engine, frozenset({"step", "entropy"}), "The tree controller")
    engine.close()


def test_scores_are_the_log_probs_of_the_writer(tmp_path: Path) -> None:
    engine = engine_over(Manners(), tmp_path)
    answers = engine.write(REQUESTS, Sampling(max_new_tokens=6), Noise(0, 0))
    scores = engine.score([(answer.prompt, answer.ids) for answer in answers])
    for answer, score in zip(answers, scores, strict=True):
        np.testing.assert_allclose(score, answer.logprobs, atol=1e-5)
    engine.close()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_controller_steers_a_round_over_vllm(tmp_path: Path, seed: int) -> None:
    engine = engine_over(Manners(), tmp_path)
    pipeline = replace(rounds(AtRandom(every=2, seed=seed)), engine=engine)
    for round in range(3):
        done = pipeline.run_round(prompts(*"abcd"), Noise(seed, round), 0)
        for answer in done.answers:
            assert 0 < len(answer.ids) <= 16
            ended = answer.ids[-1] in engine.student.eos_ids
            assert ended or len(answer.ids) == 16
            assert not set(answer.ids[:-1]) & set(engine.student.eos_ids)
    engine.close()
