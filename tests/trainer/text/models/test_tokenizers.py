"""Tokenizers keep every character, and two models are compared by what their ids mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.tiny import (
    CHARACTERS,
    EOS,
    VOCABULARY,
    character_tokenizer,
    language_model,
    save_folder,
)
from trainer.spec import NumericVerifier
from trainer.spec.networks import Network
from trainer.text.language.chat import check_length, prompt_ids
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.tokenizers import decode, require_same_vocabulary, token_texts
from trainer.text.verifiers.numeric import NumericJudge

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}({{ m['content'] }}){% endfor %}{% if "
    "add_generation_prompt %}>{% endif %}"
)


def opened(folder: Path, chat: bool = True) -> LanguageModel:
    return load(Network(model=f"file:{folder}", chat_template=chat))


@settings(deadline=None, max_examples=25)
@given(st.text(CHARACTERS, min_size=1))
def test_every_character_comes_back(text: str) -> None:
    model = language_model()
    ids = prompt_ids(model, text)
    assert decode(model, ids) == text
    assert token_texts(model, ids) == list(text)


def test_the_end_token_is_not_part_of_the_text_but_has_a_piece() -> None:
    model = language_model()
    ids = [*prompt_ids(model, "1 2"), EOS]
    assert decode(model, ids) == "1 2"
    assert token_texts(model, ids) == ["1", " ", "2", "<eos>"]


def test_tokens_around_reasoning_stay_so_that_the_answer_after_them_is_found(
    tmp_path: Path,
) -> None:
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]", "<tool>"]})
    model = opened(save_folder(tmp_path, tokenizer=tokenizer, vocab_size=64), chat=False)
    ids = model.tokenizer("[THINK]1[/THINK]<tool>2").input_ids
    text = decode(model, [*ids, EOS])
    assert text == "[THINK]1[/THINK]2"
    judge = NumericJudge(NumericVerifier())
    assert judge.judge(text, "2").correct
    assert judge.judge(decode(model, ids[:2]), "1").correct is False


def test_equal_tokenizers_share_their_real_vocabulary_whatever_the_widths(tmp_path: Path) -> None:
    narrow, wide = (
        opened(save_folder(tmp_path / "narrow")),
        opened(save_folder(tmp_path / "wide", "llama", vocab_size=64)),
    )
    assert require_same_vocabulary(narrow, wide) == VOCABULARY


def test_tokenizers_of_one_size_but_other_content_are_refused(tmp_path: Path) -> None:
    swapped = CHARACTERS[:-2] + CHARACTERS[:-3:-1]
    teacher = opened(save_folder(tmp_path, tokenizer=character_tokenizer(swapped)))
    with pytest.raises(
        ModelError,
        match=(
            r"different tokenizers: id 33 is “i” for the student and “j” for the teacher \(2 "
            r"ids differ\)"
        ),
    ):
        require_same_vocabulary(language_model(), teacher)


def test_a_smaller_tokenizer_is_refused(tmp_path: Path) -> None:
    teacher = opened(save_folder(tmp_path, tokenizer=character_tokenizer(CHARACTERS[:-1])))
    with pytest.raises(ModelError, match="missing for the teacher"):
        require_same_vocabulary(language_model(), teacher)


def test_another_end_token_is_refused(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    tokenizer.eos_token = "<bos>"
    teacher = opened(save_folder(tmp_path, tokenizer=tokenizer, eos_token_id=2))
    with pytest.raises(ModelError, match="begin or end texts with different tokens"):
        require_same_vocabulary(language_model(), teacher)


def test_a_prompt_goes_through_the_chat_template(tmp_path: Path) -> None:
    folder = save_folder(tmp_path, tokenizer=character_tokenizer(chat_template=TEMPLATE))
    assert token_texts(opened(folder), prompt_ids(opened(folder), "1+1")) == [
        "<bos>",
        "(",
        "1",
        "+",
        "1",
        ")",
        ">",
    ]


def test_the_chat_template_can_be_turned_off(tmp_path: Path) -> None:
    folder = save_folder(tmp_path, tokenizer=character_tokenizer(chat_template=TEMPLATE))
    model = opened(folder, chat=False)
    assert decode(model, prompt_ids(model, "1+1")) == "1+1"


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('only for teachers') }}",
        "{% for %}",
        "{{ messages[0].content.nothing() }}",
    ],
)
def test_a_chat_template_that_fails_is_named(tmp_path: Path, template: str) -> None:
    model = opened(save_folder(tmp_path, tokenizer=character_tokenizer(chat_template=template)))
    with pytest.raises(ModelError, match=r"chat template of .* cannot format “1”"):
        prompt_ids(model, "1")


def test_an_end_token_that_the_tokenizer_appends_is_taken_off(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = character_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    model = opened(save_folder(tmp_path, tokenizer=tokenizer))
    assert token_texts(model, prompt_ids(model, "1")) == ["<bos>", "1"]


@pytest.mark.parametrize("unknown", [{}, {"unk_token": "a"}])
def test_a_character_that_the_tokenizer_lacks_is_named(
    tmp_path: Path, unknown: dict[str, str]
) -> None:
    model = opened(save_folder(tmp_path, tokenizer=character_tokenizer(**unknown)))
    with pytest.raises(ModelError, match="lacks a character of “12é”"):
        prompt_ids(model, "12é")


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ModelError, match="prompt is empty"):
        prompt_ids(language_model(), "")


def test_an_answer_longer_than_the_model_reads_is_refused() -> None:
    check_length(language_model(), [3] * 28, 100)
    with pytest.raises(ModelError, match="Lower the longest answer to 99"):
        check_length(language_model(), [3] * 29, 100)
