"""A preflight finds characters, chat templates and lengths that go wrong in prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.trainer.text.preflight.definitions import definition, findings, of
from tests.trainer.text.preflight.tokenizers import (
    CHAT,
    dropping_tokenizer,
    replacing_tokenizer,
    unknown_tokenizer,
    with_row,
    with_tokenizer,
)
from tests.trainer.text.tiny import character_tokenizer, save_folder
from trainer.text.language import chat_templates

STUDENT = "networks.student.model"


@pytest.mark.parametrize("tokenizer", [character_tokenizer, unknown_tokenizer])
@pytest.mark.parametrize("chat", [None, CHAT])
@pytest.mark.parametrize("sample", [3, 200])
def test_a_character_without_token_is_named_with_its_problems(
    tmp_path: Path,
    tokenizer: Callable[[], PreTrainedTokenizerFast],
    chat: str | None,
    sample: int,
) -> None:
    opened = tokenizer()
    opened.chat_template = chat
    rows = with_row(question="7’7=")
    rows[30] = {"question": "’8’+é=", "answer": "8"}
    spec = definition(tmp_path, rows, student=with_tokenizer(tmp_path, opened))
    refused = of(findings(spec, sample), "refused")
    assert len({sentence for _, _, sentence in refused if "student" in sentence}) == 1
    kind, path, sentence = refused[0]
    assert (kind, path) == ("characters", STUDENT)
    assert sentence == (
        "The student's tokenizer has no token for ’ (U+2019), é (U+00E9), which 2 of the 41 "
        "training problems hold, the first is problem 21 (“7’7=”). Choose a model whose tokenizer "
        "has them, or replace them in the data."
    )


def test_a_character_of_the_prompt_itself_is_found(tmp_path: Path) -> None:
    refused = of(findings(definition(tmp_path, prompt="¿{question}")), "refused")
    assert "¿ (U+00BF), which 40 of the 40 training problems hold" in refused[0][2]


def test_a_character_of_the_history_is_found(tmp_path: Path) -> None:
    rows = with_row(system="Ω")
    refused = of(findings(definition(tmp_path, rows, columns={"system": "system"})), "refused")
    assert "Ω (U+03A9), which 1 of the 41 training problems holds" in refused[0][2]


def test_held_out_problems_are_encoded_too(tmp_path: Path) -> None:
    held_out = [{"question": "1-1=", "answer": "0"}, {"question": "2×2=", "answer": "4"}]
    refused = of(findings(definition(tmp_path, held_out=held_out)), "refused")
    assert "× (U+00D7), which 1 of the 2 held-out problems holds" in refused[0][2]


@pytest.mark.parametrize(
    ("make", "row", "sentence"),
    [
        (dropping_tokenizer, {"question": "7’7="}, "drops ’ (U+2019), which 1 of the 41 training"),
        (
            replacing_tokenizer,
            {"question": "7+7="},
            "replaces + (U+002B), which 41 of the 41 training problems hold",
        ),
    ],
)
def test_a_character_that_changes_without_a_word_is_a_warning(
    tmp_path: Path, make: Callable[[], PreTrainedTokenizerFast], row: dict[str, str], sentence: str
) -> None:
    student = with_tokenizer(tmp_path, make())
    found = findings(definition(tmp_path, with_row(**row), student=student))
    assert of(found, "refused") == []
    assert any(sentence in warning for _, _, warning in of(found, "warning"))


def test_case_and_compatibility_forms_are_no_change(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase()]
    )
    rows = with_row(question="A＋7=")
    found = findings(definition(tmp_path, rows, student=with_tokenizer(tmp_path, tokenizer)))
    assert of(found, "warning") == of(found, "refused") == []


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ raise_exception('only for teachers') }}", "only for teachers"),
        ("{% for %}", "cannot format"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "It was tried with problem 1 (“0+1=”) of the 40 training problems.",
        ),
    ],
)
def test_a_chat_template_that_fails_or_does_not_end_is_refused(
    tmp_path: Path, template: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A running process for templates has the limit that it was started with.
    monkeypatch.setattr(chat_templates, "CPU_SECONDS", 0.5)
    monkeypatch.setattr(chat_templates, "_child", None)
    student = with_tokenizer(tmp_path, character_tokenizer(chat_template=template))
    refused = of(findings(definition(tmp_path, student=student)), "refused")
    kinds = {(kind, path) for kind, path, _ in refused}
    assert kinds == {("template", STUDENT), ("template", "networks.teacher.model")}
    assert sentence in refused[0][2]


def test_a_thinking_mode_that_no_template_knows_is_refused(tmp_path: Path) -> None:
    spec = definition(tmp_path)
    spec["networks"]["student"]["thinking"] = "on"
    refused = of(findings(spec), "refused")
    assert "no `enable_thinking`" in refused[0][2]
    assert "This holds for 40 of the 40 training problems" in refused[0][2]


def test_a_template_that_leaves_out_the_question_is_a_warning(tmp_path: Path) -> None:
    student = with_tokenizer(tmp_path, character_tokenizer(chat_template="1+1"))
    warnings = of(findings(definition(tmp_path, student=student)), "warning")
    assert any("is asked the same for problem 1" in sentence for _, _, sentence in warnings)


def test_a_chat_format_of_one_side_alone_is_a_warning(tmp_path: Path) -> None:
    teacher = save_folder(tmp_path / "t", tokenizer=character_tokenizer(chat_template=CHAT))
    found = findings(definition(tmp_path, teacher={"kind": "model", "model": f"file:{teacher}"}))
    assert of(found, "refused") == []
    assert [path for _, path, text in of(found, "warning") if "chat format" in text] == [
        "networks.teacher.model"
    ]
    assert any("has no chat template" in sentence for _, _, sentence in of(found, "fact"))


@pytest.mark.parametrize(
    ("length", "is_right"), [(128 - 16, True), (128 - 15, False), (500, False)]
)
def test_prompts_and_answers_must_fit_the_model(
    tmp_path: Path, length: int, is_right: bool
) -> None:
    found = findings(definition(tmp_path, with_row(question="7" * length)), sample=2)
    refused = of(found, "refused")
    assert bool(refused) is not is_right
    if refused:
        assert (refused[0][0], refused[0][1]) == (
            "length",
            "stages.0.rollouts.generate.sampling.max_new_tokens",
        )
        assert f"A prompt of {length} tokens and an answer of up to 16 do not fit" in refused[0][2]
        assert "This holds for 1 of the 6 sampled training problems" in refused[0][2]
        assert "the longest is problem 21" in refused[0][2]


def test_the_prompts_of_a_teacher_must_fit_it_too(tmp_path: Path) -> None:
    teacher = save_folder(tmp_path / "short", max_position_embeddings=30)
    spec = definition(
        tmp_path,
        with_row(question="7" * 20),
        teacher={"kind": "model", "model": f"file:{teacher}"},
    )
    refused = of(findings(spec), "refused")
    assert [each[:2] for each in refused] == [("length", "networks.teacher.model")]
    assert "which reads 30 tokens" in refused[0][2]
    assert "1 of the 41 training problems; the longest is problem 21" in refused[0][2]


def test_a_tokenizer_that_drops_line_breaks_is_a_warning(tmp_path: Path) -> None:
    tokenizer = dropping_tokenizer()
    spec = definition(
        tmp_path, with_row(question="7\n+7="), student=with_tokenizer(tmp_path, tokenizer)
    )
    warnings = of(findings(spec), "warning")
    assert any("drops line breaks" in text and "problem 21" in text for _, _, text in warnings)


def test_marks_that_say_nothing_may_be_dropped(tmp_path: Path) -> None:
    student = with_tokenizer(tmp_path, dropping_tokenizer())
    found = findings(definition(tmp_path, with_row(question="7\u200b+7="), student=student))
    assert of(found, "warning") == of(found, "refused") == []


def test_words_that_a_list_of_words_lacks_are_named(tmp_path: Path) -> None:
    words = ["0", "1", "2", "plus", "is", "sum", "the"]
    inner = Tokenizer(
        models.WordLevel(
            {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
            | {word: 4 + index for index, word in enumerate(words)},
            unk_token="<unk>",
        )
    )
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
    rows = [
        {"question": f"the sum {first} plus {second}", "answer": "1"}
        for first in range(3)
        for second in range(3)
    ]
    rows[4]["question"] = "the difference 1 plus 1"
    held_out = [{"question": "the sum is", "answer": "1"}]
    student = with_tokenizer(tmp_path, tokenizer)
    refused = of(findings(definition(tmp_path, rows, held_out, student)), "refused")
    assert "has no token for “difference”, which 1 of the 9 training problems" in refused[0][2]
    assert "the first is problem 5" in refused[0][2]
