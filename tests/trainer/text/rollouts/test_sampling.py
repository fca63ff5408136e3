"""The sampler writes what transformers' `generate` would write, whatever else is in the batch."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.tiny import PAD, VOCABULARY, language_model, save_folder
from trainer.spec.networks import Network
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel, load
from trainer.text.rollouts.engines import decoder, transformers_generate
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample, slow_sampling_note
from trainer.text.rollouts.records import SampleRequest, Trajectory

SHAPES = ["llama", "qwen2", "qwen3"]
NOISE = Noise(seed=1, round=2)
LENGTHS = (5, 1, 17, 9, 2, 17, 30, 3)


def many_ends(shape: str, dtype: str = "float64") -> LanguageModel:
    """Return a model in which several ids count as end tokens, so that answers have all lengths.

    Random weights rarely give the end token.
    """
    return dataclasses.replace(language_model(shape, dtype), eos_ids=(1, 5, 9, 20))


def requests(lengths: tuple[int, ...] = LENGTHS, samples: int = 1) -> list[SampleRequest]:
    generator = np.random.default_rng(7)
    prompts = [tuple(generator.integers(3, VOCABULARY, length).tolist()) for length in lengths]
    return [
        SampleRequest(f"p{index}", prompt, tuple(range(samples)))
        for index, prompt in enumerate(prompts)
    ]


def greedy_answers(
    model: LanguageModel, prompts: list[SampleRequest], new_tokens: int
) -> list[list[int]]:
    """transformers' own greedy answers to left-padded prompts, cut after the first end token."""
    ids, mask = transformers_generate._left_padded(
        [request.prompt for request in prompts], model.device
    )
    network: Any = model.model
    answers = network.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=new_tokens,
        eos_token_id=list(model.eos_ids),
        pad_token_id=PAD,
    )[:, ids.shape[1] :].tolist()
    lengths = [
        next((index + 1 for index, id in enumerate(answer) if id in model.eos_ids), new_tokens)
        for answer in answers
    ]
    return [answer[:length] for answer, length in zip(answers, lengths, strict=True)]


def same(first: Trajectory, second: Trajectory) -> bool:
    return (first.problem, first.sample, first.prompt, first.ids, first.truncated) == (
        second.problem,
        second.sample,
        second.prompt,
        second.ids,
        second.truncated,
    )


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_answers_equal_those_of_generate(shape: str, rows: int) -> None:
    model = many_ends(shape)
    actual = sample(model, requests(), Sampling(temperature=0, max_new_tokens=24), NOISE, rows=rows)
    assert [list(trajectory.ids) for trajectory in actual] == greedy_answers(model, requests(), 24)
    assert len({trajectory.length for trajectory in actual}) > 3


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_answers_in_float32_equal_those_of_generate_up_to_near_ties(shape: str) -> None:
    model = language_model(shape, "float32")
    compared = 0
    for actual, expected in zip(
        sample(model, requests(), Sampling(temperature=0, max_new_tokens=40), NOISE),
        greedy_answers(model, requests(), 40),
        strict=True,
    ):
        clear = _clear_prefix(model, actual)
        assert list(actual.ids[:clear]) == expected[:clear]
        compared += clear
    assert compared > 100


def _clear_prefix(model: LanguageModel, trajectory: Trajectory) -> int:
    """How many tokens are decided by a gap between the two highest logits of more than 1e-4."""
    with torch.no_grad():
        logits_TV = model.model(torch.tensor([trajectory.prompt + trajectory.ids])).logits[
            0, len(trajectory.prompt) - 1 : -1
        ]
    first, second = logits_TV.topk(2, dim=-1).values.unbind(-1)
    near = torch.nonzero(first - second <= 1e-4)
    return int(near[0]) if len(near) else trajectory.length


@pytest.mark.parametrize("shape", SHAPES)
def test_remembered_numbers_are_those_of_the_whole_forward_pass(shape: str) -> None:
    model = many_ends(shape)
    for trajectory in sample(
        model, requests(samples=2), Sampling(max_new_tokens=24), NOISE, rows=5
    ):
        with torch.no_grad():
            logits_TV = model.model(torch.tensor([trajectory.prompt + trajectory.ids])).logits[
                0, len(trajectory.prompt) - 1 : -1
            ]
        own_TV = logits_TV[:, : model.vocabulary].log_softmax(-1)
        expected = own_TV.gather(1, torch.tensor(trajectory.ids)[:, None])[:, 0]
        np.testing.assert_allclose(trajectory.logprobs, expected, atol=2e-5)
        np.testing.assert_array_equal(trajectory.sampled_logprobs, trajectory.logprobs)
        np.testing.assert_allclose(
            trajectory.entropies, -(own_TV.exp() * own_TV).sum(-1), atol=2e-5
        )


@settings(deadline=None, max_examples=8)
@given(
    rows=st.integers(1, 40),
    order=st.permutations(range(len(LENGTHS))),
    count=st.integers(1, len(LENGTHS)),
)
def test_an_answer_does_not_depend_on_what_is_sampled_beside_it(
    rows: int, order: list[int], count: int
) -> None:
    model, sampling = many_ends("qwen2"), Sampling(max_new_tokens=20, temperature=1.2, top_k=20)
    separate = {
        (answer.problem, answer.sample): answer
        for answer in sample(model, requests(samples=3), sampling, NOISE)
    }
    selection = [requests(samples=3)[index] for index in order[:count]]
    together = sample(model, selection, sampling, NOISE, rows=rows)
    assert [(answer.problem, answer.sample) for answer in together] == [
        (request.problem, answer) for request in selection for answer in range(3)
    ]
    assert all(same(answer, separate[answer.problem, answer.sample]) for answer in together)


def test_other_noise_gives_other_answers() -> None:
    model, sampling = many_ends("llama"), Sampling(max_new_tokens=20)
    noises = (NOISE, Noise(1, 3), Noise(2, 2), Noise(1, 2, "evaluation"))
    answers = [
        [answer.ids for answer in sample(model, requests(), sampling, noise)] for noise in noises
    ]
    assert all(first != second for first, second in pairwise(answers))


def test_rollouts_of_one_problem_differ_and_follow_the_models_distribution() -> None:
    """First tokens of 4,000 rollouts are compared with the model's probabilities.

    χ² has 34 degrees of freedom; its 99.99 % quantile is 75.
    """
    model = language_model("qwen2", "float64")
    (request,) = requests((6,), samples=4000)
    answers = sample(model, [request], Sampling(max_new_tokens=1), NOISE, rows=512)
    with torch.no_grad():
        expected = (
            model.model(torch.tensor([request.prompt])).logits[0, -1].softmax(-1).numpy() * 4000
        )
    counts = np.bincount([answer.ids[0] for answer in answers], minlength=VOCABULARY)
    often = expected > 1
    assert ((counts - expected)[often] ** 2 / expected[often]).sum() < 75


def test_an_answer_ends_at_its_first_end_token_or_is_truncated() -> None:
    model = many_ends("qwen3")
    answers = sample(model, requests(samples=8), Sampling(max_new_tokens=12), NOISE)
    assert {answer.truncated for answer in answers} == {True, False}
    for answer in answers:
        assert not set(answer.ids[:-1]) & set(model.eos_ids)
        assert answer.truncated == (answer.ids[-1] not in model.eos_ids)
        assert answer.length == 12 or not answer.truncated


def test_ids_beyond_the_real_vocabulary_are_never_written() -> None:
    model = language_model("llama", "float32", vocab_size=512)
    answers = sample(model, requests(samples=4), Sampling(temperature=3, max_new_tokens=20), NOISE)
    assert max(id for answer in answers for id in answer.ids) < VOCABULARY


def test_each_prompt_is_read_once_however_many_answers_it_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    start = decoder.Decoder.start

    def counted(
        self: decoder.Decoder, ids_PT: Tensor, lengths_P: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        read.append(len(ids_PT))
        return start(self, ids_PT, lengths_P)

    monkeypatch.setattr(decoder.Decoder, "start", counted)
    sample(language_model(), requests(samples=8), Sampling(max_new_tokens=6), NOISE, rows=32)
    assert sum(read) == len(LENGTHS)


def test_no_requests_give_no_answers() -> None:
    assert sample(language_model(), [], Sampling(), NOISE) == []


def test_progress_is_reported_and_can_cancel_the_sampling() -> None:
    messages: list[tuple[int, int]] = []
    sample(
        many_ends("qwen2"),
        requests(),
        Sampling(max_new_tokens=5),
        NOISE,
        progress=lambda done, of: messages.append((done, of)),
    )
    assert messages == [(done, 8) for done in range(1, 9)]

    def leave(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(many_ends("qwen2"), requests(), Sampling(max_new_tokens=5), NOISE, progress=leave)


def test_sampling_in_bfloat16_works() -> None:
    answers = sample(
        language_model("qwen3", "bfloat16"), requests(samples=2), Sampling(max_new_tokens=10), NOISE
    )
    assert all(math.isfinite(value) for answer in answers for value in answer.logprobs)


@pytest.mark.parametrize(
    "law",
    [
        Sampling(temperature=0, max_new_tokens=20),
        Sampling(max_new_tokens=20),
        Sampling(temperature=1.5, top_p=0.9, max_new_tokens=9),
    ],
)
def test_the_fallback_to_generate_writes_the_same_answers(
    monkeypatch: pytest.MonkeyPatch, law: Sampling
) -> None:
    model = many_ends("llama")
    actual = sample(model, requests(samples=2), law, NOISE)
    monkeypatch.setattr(decoder, "unsupported", lambda language_model: "told to")
    model.model.generation_config.repetition_penalty = 5.0
    fallback = sample(model, requests(samples=2), law, NOISE, rows=5)
    assert model.model.generation_config.repetition_penalty == 5.0
    model.model.generation_config.repetition_penalty = None
    for first, second in zip(actual, fallback, strict=True):
        assert same(first, second)
        np.testing.assert_allclose(first.logprobs, second.logprobs, atol=1e-5)
        np.testing.assert_allclose(first.sampled_logprobs, second.sampled_logprobs, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_usual_shapes_are_sampled_in_process(shape: str) -> None:
    assert decoder.unsupported(language_model(shape)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {
                "layer_types": ["full_attention", "sliding_attention"],
                "use_sliding_window": True,
                "sliding_window": 8,
            },
            "sliding window",
        ),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}},
            "length of the text",
        ),
    ],
)
def test_a_shape_that_the_sampler_does_not_know_falls_back_and_still_answers(
    changes: dict[str, Any], reason: str
) -> None:
    model = dataclasses.replace(tiny_with(changes), eos_ids=(1, 5, 9, 20))
    assert reason in str(decoder.unsupported(model))
    answers = sample(model, requests(), Sampling(temperature=0, max_new_tokens=20), NOISE)
    assert [list(answer.ids) for answer in answers] == greedy_answers(model, requests(), 20)


def tiny_with(changes: dict[str, Any]) -> LanguageModel:
    return language_model.__wrapped__(
        "qwen2", "float64", 0, **changes
    )  # not cached: a dict cannot be a key


def test_sampling_by_transformers_is_said_with_its_reason(tmp_path: Path) -> None:
    fast = language_model("qwen3")
    assert slow_sampling_note(fast) == ""
    folder = save_folder(tmp_path, "qwen2", use_sliding_window=True, max_window_layers=0)
    windowed = load(Network(model=f"file:{folder}"))
    note = slow_sampling_note(windowed)
    assert "transformers' generate" in note and "sliding window" in note
