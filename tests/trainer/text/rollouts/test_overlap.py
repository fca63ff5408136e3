"""Sampling ahead gives the answers of the older weights while the next update is computed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from tests.trainer.text.rollouts.rounds import ToyEngine, pipeline, prompts
from tests.trainer.text.tiny import language_model
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.overlap import CopiedWeightsEngine, OverlapEngine
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory

LAW = Sampling(max_new_tokens=12)
REQUESTS = [SampleRequest("a", (3, 4, 5), (0, 1)), SampleRequest("b", (6, 7), (0, 1))]


@pytest.fixture
def student() -> LanguageModel:
    shared = language_model()
    return replace(shared, model=copy.deepcopy(shared.model))


@pytest.fixture
def ahead(student: LanguageModel) -> Iterator[OverlapEngine]:
    engine = OverlapEngine(CopiedWeightsEngine(student, lambda: 8))
    yield engine
    engine.close()


def train(student: LanguageModel) -> None:
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(
                torch.ones_like(parameter).uniform_(
                    -0.3, 0.3, generator=torch.Generator().manual_seed(0)
                )
            )


def ids(answers: list[Trajectory]) -> list[tuple[int, ...]]:
    return [answer.ids for answer in answers]


def test_a_round_sampled_ahead_uses_the_weights_from_its_start(
    student: LanguageModel, ahead: OverlapEngine
) -> None:
    old = ids(InProcessEngine(student, lambda: 8).write(REQUESTS, LAW, Noise(0, 1)))
    ahead.update(0)
    ahead.begin(REQUESTS, LAW, Noise(0, 1))
    train(student)
    ahead.update(1)
    answers = ahead.write(REQUESTS, LAW, Noise(0, 1))
    assert ids(answers) == old and {answer.versions for answer in answers} == {(0,)}
    repeated = ahead.write(REQUESTS, LAW, Noise(0, 1))
    assert (
        ids(repeated)
        == ids(InProcessEngine(student, lambda: 8).write(REQUESTS, LAW, Noise(0, 1)))
        != old
    )
    assert {answer.versions for answer in repeated} == {(1,)}


def test_requests_other_than_those_sampled_ahead_are_sampled_now(
    student: LanguageModel, ahead: OverlapEngine
) -> None:
    ahead.update(0)
    ahead.begin(REQUESTS, LAW, Noise(0, 1))
    assert ids(ahead.write(REQUESTS, LAW, Noise(0, 2))) == ids(
        InProcessEngine(student, lambda: 8).write(REQUESTS, LAW, Noise(0, 2))
    )


def test_weights_do_not_change_under_an_answer_that_is_being_written() -> None:
    inner = Waiting()
    ahead = OverlapEngine(inner)
    ahead.update(0)
    ahead.begin(REQUESTS, LAW, Noise(0, 1))
    updating = threading.Thread(target=ahead.update, args=(1,))
    updating.start()
    assert inner.version == 0
    inner.let.set()
    updating.join()
    assert inner.version == 1 and {
        answer.versions for answer in ahead.write(REQUESTS, LAW, Noise(0, 1))
    } == {(0,)}
    ahead.close()


def test_an_error_while_sampling_ahead_is_raised_when_the_answers_are_requested() -> None:
    class Failing(ToyEngine):
        def write(
            self,
            requests: Sequence[SampleRequest],
            sampling: Sampling,
            noise: Noise,
            progress: Progress | None = None,
        ) -> list[Trajectory]:
            raise OSError("gone")

    ahead = OverlapEngine(Failing())
    ahead.begin(REQUESTS, LAW, Noise(0, 1))
    ahead.update(1)
    with pytest.raises(OSError, match="gone"):
        ahead.write(REQUESTS, LAW, Noise(0, 1))
    ahead.close()


def test_a_run_that_ends_waits_for_one_answer_at_most() -> None:
    class Endless(ToyEngine):
        def write(
            self,
            requests: Sequence[SampleRequest],
            sampling: Sampling,
            noise: Noise,
            progress: Progress | None = None,
        ) -> list[Trajectory]:
            assert progress is not None
            while True:
                progress(1, 2)

    ahead = OverlapEngine(Endless())
    ahead.begin(REQUESTS, LAW, Noise(0, 1))
    ahead.close()


def test_rounds_that_overlap_say_how_old_their_answers_are() -> None:
    rounds = pipeline(2, engine=OverlapEngine(ToyEngine()))
    ages = []
    for version in range(4):
        ages.append(
            rounds.run_round(prompts("a", "b"), Noise(0, version), version).telemetry.staleness
        )
        rounds.begin(prompts("a", "b"), Noise(0, version + 1))
    assert ages == [0, 1, 1, 1]


def test_an_engine_that_cannot_sample_ahead_gets_no_request_ahead() -> None:
    rounds = pipeline(2)
    rounds.begin(prompts("a"), Noise(0, 0))
    assert isinstance(rounds.engine, ToyEngine) and not rounds.engine.requests


@dataclass
class Waiting(ToyEngine):
    """An engine that waits for `let` before it writes."""

    let: threading.Event = field(default_factory=threading.Event)

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        self.let.wait(300)
        return super().write(requests, sampling, noise, progress)
