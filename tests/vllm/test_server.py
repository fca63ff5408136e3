"""A real vLLM server on small random models: it writes the student's law, takes its weights, is
caught when it does not, and comes back.

`make test-vllm` runs these; they need the environment that `make vllm` sets up.
"""

from __future__ import annotations

import copy
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.trainer.text.tiny import VOCABULARY, save_folder
from trainer.engine.outcome import Failure
from trainer.spec.networks import LowRankAdapter, Network
from trainer.spec.operation import VllmSampler
from trainer.spec.sampling import Sampling
from trainer.text.language import adapters
from trainer.text.language.models import LanguageModel, load
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.engines.vllm.server import WORKER, Launch
from trainer.text.rollouts.engines.vllm.weights import logprobs_of
from trainer.text.rollouts.records import SampleRequest, Trajectory

HERE = Path(__file__).resolve().parent
ROUNDING = 1e-4
LAW = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module", params=["tied", "untied"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmEngine]:
    """A running server over a model whose embedding is padded beyond its tokenizer, with a worker
    that can be told to misbehave.
    """
    folder = save_folder(
        tmp_path_factory.mktemp("model"),
        tie_word_embeddings=request.param == "tied",
        hidden_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=96,
        vocab_size=VOCABULARY + 29,
        initializer_range=0.15,
    )
    student = load(Network(model=f"file:{folder}"))
    launch = Launch(
        VllmSampler(memory=0.25, tolerance=0.01),
        "float32",
        64,
        eager=True,
        extension="misbehaving.Misbehaving",
        extension_folders=(HERE / "worker", WORKER, HERE.parents[1]),
    )
    engine = VllmEngine(student, launch, 16, tmp_path_factory.mktemp("server"))
    behave(engine, "well")
    try:
        engine.update(0)
        yield engine
    finally:
        engine.close()


def behave(engine: VllmEngine, manner: str) -> None:
    (engine.folder / "manner").write_text(manner)


def requests(problems: int = 4, samples: int = 4) -> list[SampleRequest]:
    return [
        SampleRequest(f"p{index}", tuple(range(3, 8 + index)), tuple(range(samples)))
        for index in range(problems)
    ]


def step(student: LanguageModel, size: float) -> None:
    """What an optimiser would do: every weight moves a little."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def furthest(student: LanguageModel, answers: list[Trajectory], temperature: float = 1.0) -> float:
    """The largest difference between what an answer's author says of its tokens and what the
    trainer does.
    """
    differences = []
    for answer in answers:
        with torch.no_grad():
            logits_TV = student.model(torch.tensor([answer.prompt + answer.ids])).logits[
                0, len(answer.prompt) - 1 : -1, : student.vocabulary
            ]
        actual = (
            (logits_TV / temperature)
            .log_softmax(-1)
            .gather(-1, torch.tensor(answer.ids)[:, None])[:, 0]
        )
        differences.append(np.abs(actual.numpy() - answer.sampled_logprobs).max())
    return float(max(differences))


def test_answers_follow_the_students_distribution_in_order(engine: VllmEngine) -> None:
    answers = engine.write(requests(), LAW, Noise(0, 0))
    assert [(answer.problem, answer.sample) for answer in answers] == [
        (f"p{index}", sample) for index in range(4) for sample in range(4)
    ]
    assert furthest(engine.student, answers) < ROUNDING
    assert len({answer.ids for answer in answers}) > 12
    for answer in answers:
        assert answer.versions == (engine.version,) and max(answer.ids) < VOCABULARY
        assert (
            answer.truncated == (answer.ids[-1] not in engine.student.eos_ids)
            and answer.length <= 24
        )
        np.testing.assert_array_equal(answer.logprobs, answer.sampled_logprobs)
        assert np.isnan(answer.entropies).all()


def test_log_probs_are_of_the_sampling_distribution(engine: VllmEngine) -> None:
    answers = engine.write(
        requests(2, 2), Sampling(temperature=0.7, max_new_tokens=12), Noise(0, 0)
    )
    assert furthest(engine.student, answers, temperature=0.7) < ROUNDING
    assert all(np.isnan(answer.logprobs).all() for answer in answers)


def test_frequencies_are_those_of_the_students_law(engine: VllmEngine) -> None:
    """χ² of 600 first tokens over the 35 ids that the tokenizer has; 66 is its 99.9 % quantile for
    34 degrees of freedom.
    """
    request = SampleRequest("p", (5, 6, 7), tuple(range(600)))
    drawn = engine.write([request], Sampling(max_new_tokens=1), Noise(3, 0))
    with torch.no_grad():
        law = (
            engine.student.model(torch.tensor([request.prompt]))
            .logits[0, -1, :VOCABULARY]
            .double()
            .softmax(-1)
            .numpy()
        )
    counts = np.bincount([answer.ids[0] for answer in drawn], minlength=VOCABULARY)
    assert ((counts - 600 * law) ** 2 / (600 * law)).sum() < 66


def test_every_update_arrives(engine: VllmEngine) -> None:
    for version in (engine.version + 1, engine.version + 2):
        step(engine.student, 0.02)
        engine.update(version)
        answers = engine.write(requests(2, 2), LAW, Noise(0, version))
        assert furthest(engine.student, answers) < ROUNDING and {
            answer.versions for answer in answers
        } == {(version,)}


def test_a_low_rank_adapter_is_folded_in(engine: VllmEngine) -> None:
    network = copy.deepcopy(engine.student.model)
    adapted = replace(engine.student, model=network)
    adapters.add_adapter(adapted, LowRankAdapter(rank=4, alpha=8.0), 0)
    step(adapted, 0.02)
    plain, engine.student = engine.student, adapted
    try:
        engine.update(engine.version + 1)
        assert furthest(adapted, engine.write(requests(2, 2), LAW, Noise(0, 0))) < ROUNDING
    finally:
        engine.student = plain
        engine.update(engine.version + 1)


@pytest.mark.parametrize("manner", ["not at all", "without tying the head again"])
@pytest.mark.parametrize("size", [0.02, 2e-4])
def test_an_update_that_changes_nothing_is_caught_however_small_it_was(
    engine: VllmEngine, manner: str, size: float
) -> None:
    """Of untied weights vLLM's own reload leaves none behind; there nothing is to be caught."""
    tied = engine.student.model.config.tie_word_embeddings
    before, moved = logprobs_of(engine.student, engine._check_ids), engine.version + 1
    behave(engine, manner)
    step(engine.student, size)
    try:
        if tied or manner == "not at all":
            with pytest.raises(Failure, match=f"does not write with the weights of update {moved}"):
                engine.update(moved)
        else:
            engine.update(moved)
    finally:
        behave(engine, "well")
        engine.update(moved)
    difference = float((logprobs_of(engine.student, engine._check_ids) - before).abs().mean())
    assert size > 1e-3 or difference < engine.launch.settings.tolerance


def test_other_weights_than_were_sent_are_caught_by_their_checksums(engine: VllmEngine) -> None:
    other = engine.folder / "model.safetensors.other"
    other.write_bytes((engine.folder / "model.safetensors").read_bytes())
    behave(engine, "another file")
    step(engine.student, 0.02)
    moved = engine.version + 1
    try:
        with pytest.raises(Failure, match=f"did not take the weights of update {moved}"):
            engine.update(moved)
    finally:
        behave(engine, "well")
        engine.update(moved)


def test_a_server_that_dies_in_a_round_comes_back_and_no_finished_answer_is_lost(
    engine: VllmEngine,
) -> None:
    assert engine.server is not None
    messages: list[str] = []
    arrived: list[int] = []
    engine.log_warning, dying = messages.append, engine.server.group

    def kill(done: int, of: int) -> None:
        arrived.append(done)
        if done == 3:
            os.killpg(dying, signal.SIGKILL)

    answers = engine.write(requests(4, 8), Sampling(max_new_tokens=40), Noise(0, 1), kill)
    assert arrived == list(range(1, 33)) and len(answers) == 32
    assert furthest(engine.student, answers) < ROUNDING
    assert len(messages) == 1 and "started again" in messages[0] and " 0 answers" not in messages[0]
    assert _members(dying) == []


def test_closing_leaves_no_process(engine: VllmEngine) -> None:
    assert engine.server is not None
    group = engine.server.group
    assert len(_members(group)) >= 2
    engine.close()
    deadline = time.monotonic() + 20
    while _members(group) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _members(group) == []


def _members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    result = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return result
