"""A tokenizer with more tokens than the embedding opens, as long as these never occur."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.text.models.test_models import opened
from tests.trainer.text.tiny import (
    CHARACTERS,
    VOCABULARY,
    character_tokenizer,
    language_model,
    save_folder,
)
from trainer.spec import Sampling
from trainer.text.language.chat import prompt_ids, text_ids
from trainer.text.language.models import ModelError
from trainer.text.language.tokenizers import require_same_vocabulary
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest


def with_surplus(folder: Path, tokens: list[str], special: bool = True, **changes: Any) -> Path:
    """A model whose tokenizer has tokens that it does not embed."""
    tokenizer = character_tokenizer()
    tokenizer.add_tokens(tokens, special_tokens=special)
    return save_folder(folder, tokenizer=tokenizer, **changes)


@pytest.mark.parametrize("tokens", [["<soft>"], ["<pre>", "<mid>", "<suf>", "<eot>"]])
@pytest.mark.parametrize("special", [True, False])
def test_it_opens_with_the_vocabulary_of_the_embedding(
    tmp_path: Path, tokens: list[str], special: bool
) -> None:
    model = opened(with_surplus(tmp_path, tokens, special))
    assert model.vocabulary == VOCABULARY
    ids = prompt_ids(model, "1+1=")
    answers = sample(model, [SampleRequest("a", ids, (0, 1, 2))], Sampling(), Noise(0, 0))
    assert all(id < VOCABULARY for answer in answers for id in answer.ids)


def test_an_embedding_that_covers_a_part_of_the_surplus_is_used(tmp_path: Path) -> None:
    folder = with_surplus(tmp_path, ["<one>", "<two>", "<three>"], vocab_size=VOCABULARY + 2)
    assert opened(folder).vocabulary == VOCABULARY + 2


@pytest.mark.parametrize("encode", [prompt_ids, text_ids])
def test_a_text_with_such_a_token_is_refused_by_its_name(tmp_path: Path, encode: object) -> None:
    model = opened(with_surplus(tmp_path, ["XY"], special=False))
    assert callable(encode)
    with pytest.raises(ModelError, match="“1XY” has the token “XY”"):
        encode(model, "1XY")


def test_an_ordinary_character_without_embedding_is_refused_where_it_occurs(
    tmp_path: Path,
) -> None:
    model = opened(save_folder(tmp_path, tokenizer=character_tokenizer(CHARACTERS + "XYZ")))
    assert prompt_ids(model, "1+1")
    with pytest.raises(ModelError, match=r"“Y”.*does not embed"):
        prompt_ids(model, "1+Y")


def test_an_end_token_without_embedding_ends_nothing(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    tokenizer.add_tokens(["<end>"], special_tokens=True)
    tokenizer.eos_token = "<end>"
    assert opened(save_folder(tmp_path / "other", tokenizer=tokenizer)).eos_ids == (1,)
    folder = save_folder(tmp_path / "none", tokenizer=tokenizer, eos_token_id=VOCABULARY)
    with pytest.raises(ModelError, match="no answer could end"):
        opened(folder)


def test_teacher_and_student_are_compared_by_what_they_embed(tmp_path: Path) -> None:
    surplus = opened(with_surplus(tmp_path / "a", ["<soft>"]))
    embedded = opened(with_surplus(tmp_path / "b", ["<soft>"], vocab_size=VOCABULARY + 1))
    other = opened(with_surplus(tmp_path / "c", ["<other>"]))
    plain = language_model()
    for student, teacher in (
        (surplus, plain),
        (plain, surplus),
        (surplus, other),
        (surplus, embedded),
    ):
        assert require_same_vocabulary(student, teacher) == VOCABULARY
    with pytest.raises(ModelError, match="does not embed “<soft>”"):
        require_same_vocabulary(embedded, surplus)
    with pytest.raises(ModelError, match="“<soft>” for the student and missing"):
        require_same_vocabulary(embedded, plain)


def test_logits_of_a_larger_teacher_are_cut_to_the_shared_vocabulary(tmp_path: Path) -> None:
    embedded = opened(with_surplus(tmp_path, ["<soft>"], vocab_size=VOCABULARY + 1))
    with torch.no_grad():
        assert embedded.model(torch.tensor([[3, 4]])).logits.shape[-1] == VOCABULARY + 1
