"""Prompts of conversations: messages through the chat template, and questions that spell out
control tokens.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests.trainer.text.tiny import language_model
from trainer.text.language.chat import plain_text, prompt_ids, turn_end
from trainer.text.language.models import LanguageModel, ModelError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + CHATML
)
DROPS_SYSTEM = CHATML.replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
)
LAST_ONLY = CHATML.replace("in messages %}", "in messages[-1:] %}", 1)
SPECIAL = ("<|end|>", "<|im_start|>", "<|im_end|>")
# Added without being special, as the marks of thinking and of turns are in many models.
ADDED = ("<think>", "</think>", "<｜User｜>")
TEXTS = ("What is 2+3?", "a b", " ", "\n", "é", "<", "|>", "im_end", "system")
HISTORY = (("system", "Be brief."), ("user", "What is 1+1?"), ("assistant", "2"))


@cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A small BPE: of bytes, or of words that begin with a space as SentencePiece writes it."""
    inner = Tokenizer(models.BPE(byte_fallback=kind == "words"))
    if kind == "bytes":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        inner.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        alphabet = sorted({*"".join((*TEXTS, *SPECIAL, *ADDED)), "▁"} - {" "})
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet
    )
    inner.train_from_iterator(["What is 2+3? <|im_end|> <think> system user"] * 4, trainer)
    result = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    result.add_tokens([AddedToken(token, special=False) for token in ADDED])
    result.chat_template = CHATML
    return result


def model(kind: str = "bytes", template: str | None = CHATML) -> LanguageModel:
    return replace(
        language_model(),
        tokenizer=with_template(kind, template),
        vocabulary=len(tokenizer(kind)),
        eos_ids=(tokenizer(kind).eos_token_id,),
        chat_template=template is not None,
    )


@cache
def with_template(kind: str, template: str | None) -> PreTrainedTokenizerFast:
    result = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(kind).backend_tokenizer, eos_token="<|end|>"
    )
    result.chat_template = template
    return result


def read_back(model: LanguageModel, ids: tuple[int, ...]) -> str:
    text = model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    return str(text)


def rendered(model: LanguageModel, *messages: tuple[str, str]) -> str:
    return str(
        model.tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in messages],
            add_generation_prompt=True,
            tokenize=False,
        )
    )


def control_ids(model: LanguageModel, ids: tuple[int, ...]) -> list[int]:
    control = {*SPECIAL, *ADDED}
    return [id for id in ids if model.tokenizer.convert_ids_to_tokens(id) in control]


spelled = st.lists(
    st.sampled_from([*TEXTS, *SPECIAL, *ADDED, "<|im_<|im_end|>end|>", "<｜User｜><think>"]),
    min_size=1,
    max_size=5,
).map("".join)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["bytes", "words"]), spelled.filter(str.strip))
def test_control_tokens_in_a_question_are_text(kind: str, text: str) -> None:
    chat = model(kind)
    ids = prompt_ids(chat, text)
    assert control_ids(chat, ids) == control_ids(chat, prompt_ids(chat, "a"))
    expected = rendered(chat, ("user", text))
    assert read_back(chat, ids) == expected


@pytest.mark.parametrize(
    ("normalizer", "texts"),
    [
        (
            normalizers.NFKC(),
            ["＜tool＞", "＜mark＞", "a＜tool＞＜tool＞", "<tool>", "＜|im_end|＞"],
        ),
        (normalizers.Lowercase(), ["<TOOL>", "<Tool> <MARK>", "<tool>", "<|im_end|>"]),
        (normalizers.NFC(), ["<tool>", "<mark>é"]),
        (normalizers.StripAccents(), ["<tóol>", "<tool>"]),
    ],
)
@pytest.mark.parametrize("template", [CHATML, None])
def test_control_tokens_that_normalising_spells_out_are_text(
    normalizer: normalizers.Normalizer, texts: list[str], template: str | None
) -> None:
    inner = Tokenizer.from_str(tokenizer("bytes").backend_tokenizer.to_str())
    inner.normalizer = normalizer
    normalising = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    added = [
        AddedToken("<tool>", special=False, normalized=True),
        AddedToken("<mark>", special=True, normalized=True),
    ]
    normalising.add_tokens(added)
    normalising.chat_template = template
    chat = replace(model("bytes", template), tokenizer=normalising, vocabulary=len(normalising))
    control = set(normalising.added_tokens_decoder)
    own = [id for id in prompt_ids(chat, "a") if id in control]
    for text in texts:
        assert [id for id in prompt_ids(chat, text) if id in control] == own, text


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["bytes", "words"]), spelled.filter(str.strip))
def test_control_tokens_are_text_without_a_template_too(kind: str, text: str) -> None:
    plain = model(kind, template=None)
    ids = prompt_ids(plain, text)
    assert control_ids(plain, ids) == []
    # Words may get a space before the first one, with or without control tokens.
    strip = str.lstrip if kind == "words" else str
    assert strip(read_back(plain, ids)) == strip(text)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6).map("".join).filter(str.strip))
def test_a_question_without_control_tokens_is_encoded_as_the_tokenizer_does(text: str) -> None:
    chat = model()
    expected = chat.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    assert list(prompt_ids(chat, text)) == list(expected)


def test_system_prompt_and_history_are_messages_of_the_template() -> None:
    chat = model()
    ids = prompt_ids(chat, "And 2+3?", HISTORY)
    assert read_back(chat, ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is 1+1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\nAnd 2+3?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_control_tokens_in_the_history_are_text_but_thinking_is_the_templates() -> None:
    history = (("user", "<|im_end|><think>"), ("assistant", "<think>a</think><|im_end|>"))
    chat = model()
    ids = prompt_ids(chat, "b", history)
    tokens = [chat.tokenizer.convert_ids_to_tokens(id) for id in control_ids(chat, ids)]
    # Three finished turns and the start of the fourth.
    assert (tokens.count("<|im_end|>"), tokens.count("<|im_start|>")) == (3, 4)
    assert (tokens.count("<think>"), tokens.count("</think>")) == (1, 1)


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
def test_a_template_without_system_messages_gets_it_in_the_first_turn(template: str) -> None:
    chat = model(template=template)
    text = read_back(chat, prompt_ids(chat, "And 2+3?", HISTORY))
    assert text.startswith("<|im_start|>user\nBe brief.\n\nWhat is 1+1?<|im_end|>\n")
    text = read_back(chat, prompt_ids(chat, "a", HISTORY[:1]))
    assert text.startswith("<|im_start|>user\nBe brief.\n\na<|im_end|>\n")


def test_a_template_that_leaves_the_history_out_is_refused() -> None:
    with pytest.raises(ModelError, match=r"leaves out the message “What is 1\+1\?” \(user\)"):
        prompt_ids(model(template=LAST_ONLY), "a", HISTORY[1:])


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([("user", "2+3?")], "2+3?"),
        ([("system", "Be brief."), ("user", "2+3?")], "Be brief.\n\n2+3?"),
        (
            [*HISTORY, ("user", "2+3?")],
            "Be brief.\n\nUser: What is 1+1?\n\nAssistant: 2\n\nUser: 2+3?\n\nAssistant:",
        ),
    ],
)
def test_without_a_template_a_conversation_is_plain_text(
    messages: list[tuple[str, str]], text: str
) -> None:
    assert plain_text(messages) == text
    plain = model(template=None)
    *history, (_, question) = messages
    assert read_back(plain, prompt_ids(plain, question, history)) == text


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, "<|im_end|>"),
        (NO_SYSTEM, "<|im_end|>"),
        (CHATML.replace("<|im_end|>", ""), "<|im_start|>"),
        (CHATML.replace("<|im_end|>", "").replace("<|im_start|>", "### "), ""),
        ("{{ messages[0].content }}", ""),
        ("{{ raise_exception('one question only') if messages | length > 1 }}", ""),
        (None, ""),
    ],
)
def test_the_end_of_a_turn_is_what_the_template_writes_behind_an_answer(
    template: str | None, end: str
) -> None:
    assert turn_end(model(template=template)) == end
