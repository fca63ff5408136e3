"""The built-in pair: complete, small, with one tokenizer, and reproducible by a command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from trainer.spec.networks import Network
from trainer.text import builtin
from trainer.text.builtin.make import PLANS, make
from trainer.text.builtin.pretrain import held_out, train
from trainer.text.builtin.tokenizer import CONFIDENCES, build
from trainer.text.language.models import LanguageModel, load
from trainer.text.language.tokenizers import require_same_vocabulary
from trainer.text.problems.arithmetic import POOL_FAMILIES
from trainer.text.problems.arithmetic import make as problems

FOLDER = Path(builtin.__file__).parent
TINY = replace(PLANS["student"], hidden=16, layers=1, heads=1, steps=40, horizon=40, batch=16)


@pytest.fixture(scope="module")
def pair() -> dict[str, LanguageModel]:
    return {name: load(Network(model=f"builtin:{name}")) for name in PLANS}


def test_both_models_open_and_speak_the_same_tokens(pair: dict[str, LanguageModel]) -> None:
    assert require_same_vocabulary(pair["student"], pair["teacher"]) == len(build())


def test_the_pair_is_stored_as_fp16_safetensors_of_at_most_two_megabytes() -> None:
    files = [path for name in PLANS for path in (FOLDER / name).iterdir()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    for name in PLANS:
        assert {
            weight.dtype for weight in load_file(FOLDER / name / "model.safetensors").values()
        } == {torch.float16}


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_text_survives_a_round_trip(text: str) -> None:
    tokenizer = build()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_stored_tokenizers_are_the_one_that_is_built(pair: dict[str, LanguageModel]) -> None:
    assert all(model.tokenizer.get_vocab() == build().get_vocab() for model in pair.values())


def test_a_stated_confidence_is_one_token() -> None:
    assert all(
        len(build().encode(f">7{stated}", add_special_tokens=False)) == 3 for stated in CONFIDENCES
    )


@pytest.mark.parametrize(("name", "solved"), [("teacher", 0.9), ("student", 0.4)])
def test_greedy_answers_at_levels_1_and_2_are_mostly_right(
    pair: dict[str, LanguageModel], name: str, solved: float
) -> None:
    sample = [
        problem for problem in problems(POOL_FAMILIES, (1, 2), 400, seed=5) if held_out(problem)
    ][:32]
    answers = greedy(pair[name], [problem.question for problem in sample])
    right = sum(
        answer.endswith(f">{problem.answer}")
        for problem, answer in zip(sample, answers, strict=True)
    )
    assert right / len(sample) >= solved


def greedy(model: LanguageModel, questions: list[str]) -> list[str]:
    prompts = build()(questions, return_tensors="pt", padding=True, return_token_type_ids=False)
    ids = model.model.generate(**prompts, max_new_tokens=64, do_sample=False, pad_token_id=0)  # type: ignore[operator]
    return build().batch_decode(ids[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)


def test_making_a_model_twice_gives_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "student", TINY)
    for turn in ("first", "second"):
        make("student", tmp_path / turn)
    names = sorted(path.name for path in (tmp_path / "first" / "student").iterdir())
    assert "model.safetensors" in names
    for name in names:
        assert (tmp_path / "first" / "student" / name).read_bytes() == (
            tmp_path / "second" / "student" / name
        ).read_bytes()


def test_training_lowers_the_loss() -> None:
    losses: list[float] = []
    train(TINY, build(), lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.8 * losses[0]
