"""A preflight finds what a run would refuse or do wrong, and nothing in a run that is right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.shared_cases import case, needs_cases
from tests.trainer.text.preflight.definitions import ROWS, definition, findings, of
from tests.trainer.text.test_ends_in_runs import edited, pair
from tests.trainer.text.tiny import CHARACTERS, character_tokenizer, save_folder
from trainer.text.builtin import __file__ as builtin

BUILTIN = Path(builtin).parent
STUDENT = "networks.student.model"
CHAT = "{% for m in messages %}({{ m['content'] }}){% endfor %}"
Made = tuple[str, str, str, str]


def with_row(**row: str) -> list[dict[str, str]]:
    return [*ROWS[:20], {"question": "7+7=", "answer": "14", **row}, *ROWS[20:]]


def with_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Path:
    return save_folder(folder / "student", tokenizer=tokenizer, **changes)


def dropping_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """One that has no unknown token and drops what it lacks without a word."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2} | {
        character: 3 + index for index, character in enumerate(CHARACTERS)
    }
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", bos_token="<bos>", **options
    )


def replacing_tokenizer() -> PreTrainedTokenizerFast:
    """One that writes - for +, as normalisers replace typographic signs."""
    tokenizer = character_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("+", "-")
    return tokenizer


def unknown_tokenizer() -> PreTrainedTokenizerFast:
    """One with an unknown token of its own, as lists of words have."""
    tokenizer = character_tokenizer(CHARACTERS[:-1])
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    inner["model"]["vocab"]["<unk>"] = 3 + len(CHARACTERS) - 1
    inner["model"]["unk_token"] = "<unk>"
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(inner)),
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )


def test_a_run_that_is_right_has_facts_alone(tmp_path: Path) -> None:
    found = findings(definition(tmp_path))
    assert of(found, "refused") == of(found, "warning") == []
    assert (
        "length",
        "data.train",
        "The prompts of 40 training problems have 4 to 5 tokens with the student (median 5); "
        "answers have at most 16, and the model reads 128.",
    ) in of(found, "fact")


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
            "did not format problem 1 (“0+1=”) of the 40 training problems within",
        ),
    ],
)
def test_a_chat_template_that_fails_or_does_not_end_is_refused(
    tmp_path: Path, template: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.text.preflight.prompts.TEMPLATE_SECONDS", 0.3)
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


def another(folder: Path) -> Path:
    swapped = CHARACTERS[:-2] + CHARACTERS[:-3:-1]
    return save_folder(folder / "other", tokenizer=character_tokenizer(swapped))


def test_a_teacher_with_another_vocabulary_is_refused_where_it_is_compared(tmp_path: Path) -> None:
    teacher = {"kind": "model", "model": f"file:{another(tmp_path)}"}
    refused = of(findings(definition(tmp_path, teacher=teacher)), "refused")
    assert [(kind, path) for kind, path, _ in refused] == [("vocabulary", "networks.teacher.model")]
    assert "id 33 is “i” for the student and “j” for the teacher" in refused[0][2]
    texts = {"source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    assert of(findings(definition(tmp_path, teacher=teacher, stage=texts)), "refused") == []


def test_a_specialist_with_another_vocabulary_is_named(tmp_path: Path) -> None:
    rows = [{**row, "domain": "sums"} for row in ROWS]
    spec = definition(tmp_path, rows, columns={"domain": "domain"})
    specialist = {"domains": ["sums"], "teacher": {"model": f"file:{another(tmp_path)}"}}
    spec["networks"]["specialists"] = [specialist]
    refused = of(findings(spec), "refused")
    assert refused[0][:2] == ("vocabulary", "networks.specialists.0.teacher.model")
    specialist["domains"] = ["products"]
    assert "has the domain “products”" in of(findings(spec), "refused")[1][2]


def test_different_end_tokens_are_said_or_refused(tmp_path: Path) -> None:
    spec = definition(tmp_path)
    spec["networks"] = pair(tmp_path / "a", 2, [1, 2])
    warnings = of(findings(spec), "warning")
    assert any("answers end at <eos> too" in sentence for _, _, sentence in warnings)
    spec["networks"] = pair(tmp_path / "b", 2, [1])
    assert "end texts with different tokens" in of(findings(spec), "refused")[0][2]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"a": 1}'), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\x00"), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a model configuration"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (
            lambda folder: edited(folder / "config.json", model_type="unheard_of"),
            "cannot open this model",
        ),
        (
            lambda folder: edited(folder / "config.json", quantization_config={"bits": 4}),
            "quantised weights",
        ),
        (
            lambda folder: edited(folder / "config.json", architectures=["BertModel"]),
            "not a causal language model",
        ),
    ],
)
def test_a_student_that_cannot_be_opened_is_refused_as_the_run_refuses_it(
    tmp_path: Path, change: Callable[[Path], object], sentence: str
) -> None:
    student, teacher = save_folder(tmp_path / "student"), save_folder(tmp_path / "teacher")
    change(student)
    spec = definition(
        tmp_path, student=student, teacher={"kind": "model", "model": f"file:{teacher}"}
    )
    refused = of(findings(spec), "refused")
    assert [(kind, path) for kind, path, _ in refused] == [("model", STUDENT)]
    assert sentence in refused[0][2]


@needs_cases
def test_a_tokenizer_longer_than_the_embedding_is_a_fact_until_its_token_occurs(
    tmp_path: Path,
) -> None:
    student = tmp_path / "longer"
    script = case("15-tokenizer-longer-than-embedding") / "make.py"
    subprocess.run(
        [sys.executable, str(script), str(BUILTIN / "student"), str(student)], check=True
    )
    spec = definition(tmp_path, student=student)
    found = findings(spec)
    assert of(found, "refused") == []
    assert any("1 token more than the model embeds" in text for _, _, text in of(found, "fact"))


@pytest.mark.parametrize("hub", ["student", "teacher", "data", "texts"])
def test_what_is_not_here_is_a_fact(tmp_path: Path, hub: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    location = "hub:nobody/nothing@main"
    spec = definition(tmp_path)
    if hub == "data":
        spec["data"]["train"]["path"] = location
    elif hub == "texts":
        spec["networks"]["teacher"] = {"kind": "texts", "path": location}
        spec["stages"][0] |= {"source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    else:
        spec["networks"][hub]["model"] = location
    found = findings(spec)
    assert of(found, "refused") == []
    not_checked = [finding for finding in found if finding.kind == "not_checked"]
    assert location in not_checked[0].sentence


def test_an_endpoint_is_not_checked_and_says_why(tmp_path: Path) -> None:
    teacher = {"kind": "endpoint", "url": "http://localhost:1/v1", "model": "m"}
    stage = {"source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    found = findings(definition(tmp_path, teacher=teacher, stage=stage))
    assert of(found, "refused") == []
    assert any("behind an endpoint" in sentence for _, _, sentence in of(found, "fact"))


@pytest.mark.parametrize(
    ("verifier", "answers", "severity", "sentence"),
    [
        ({"kind": "numeric"}, ["1"] * 4, None, ""),
        ({"kind": "numeric"}, ["blue"] * 3 + ["1"], "refused", "cannot read 3 of 4 held-out"),
        ({"kind": "numeric"}, ["blue"] + ["1"] * 3, "warning", "cannot read 1 of 4 held-out"),
        ({"kind": "choice"}, ["A"] * 4, None, ""),
        ({"kind": "choice"}, ["A"] * 3 + ["9"], "warning", "cannot read 1 of 4 held-out"),
        ({"kind": "exact", "after": "Answer:"}, ["a"] * 4, None, ""),
        (
            {"kind": "exact", "after": "", "next_question": "Q"},
            ["a", "b", "c", "a\nQ: b"],
            "warning",
            "does not accept 1 of the reference answers of 4 held-out problems",
        ),
    ],
)
def test_the_verifier_must_read_and_accept_the_references(
    tmp_path: Path,
    verifier: dict[str, str],
    answers: list[str],
    severity: str | None,
    sentence: str,
) -> None:
    held_out = [
        {"question": f"{number}-0=", "answer": answer} for number, answer in enumerate(answers)
    ]
    rows = [{"question": row["question"], "answer": answers[0]} for row in ROWS]
    if answers[0] == "blue":
        rows = ROWS
    found = findings(definition(tmp_path, rows, held_out=held_out, verifier=verifier))
    about_data = [
        finding
        for finding in found
        if finding.kind == "references" and finding.path == "data.verifier"
    ]
    if severity is None:
        assert about_data == []
    else:
        assert (about_data[0].severity, len(about_data)) == (severity, 1)
        assert sentence in about_data[0].sentence


def test_a_reference_that_the_student_cannot_write_is_a_warning(tmp_path: Path) -> None:
    found = findings(definition(tmp_path, with_row(answer="14 €")))
    warnings = [text for kind, _, text in of(found, "warning") if kind == "references"]
    assert len(warnings) == 1
    assert "no token for € (U+20AC), which 1 of the 41 training problems holds" in warnings[0]
    assert "in their reference answers" in warnings[0]


def test_a_reference_that_its_tokens_change_is_a_warning(tmp_path: Path) -> None:
    student = with_tokenizer(tmp_path, replacing_tokenizer())
    rows = with_row(answer="1+1")
    spec = definition(tmp_path, rows, student=student, verifier={"kind": "exact"})
    assert any(
        "as the student's tokenizer writes them" in text
        for _, _, text in of(findings(spec), "warning")
    )


def test_a_reference_longer_than_every_answer_is_a_warning(tmp_path: Path) -> None:
    found = findings(definition(tmp_path, with_row(answer="1" * 17)))
    assert any("no room in the student's longest answer" in t for _, _, t in of(found, "warning"))


def test_data_that_cannot_be_read_is_refused_beside_its_source(tmp_path: Path) -> None:
    spec = definition(tmp_path, columns={"answer": "reply"})
    assert of(findings(spec), "refused")[0][:2] == ("data", "data.train")
    spec = definition(tmp_path, held_out=[ROWS[0]])
    kind, path, sentence = of(findings(spec), "refused")[0]
    assert (kind, path) == ("data", "data.evaluation")
    assert "are training problems too" in sentence


def test_solutions_must_exist_and_be_writable(tmp_path: Path) -> None:
    stage = {"source": "solutions", "objective": {"kind": "cross_entropy"}}
    rows = [{**row, "solution": "1=1"} for row in with_row()]
    rows[3]["solution"] = " "
    spec = definition(tmp_path, rows, stage=stage, columns={"solution": "solution"})
    assert "no solution to train on" in of(findings(spec), "refused")[0][2]
    rows[3]["solution"] = "1"
    rows[4]["solution"], rows[5]["solution"] = "π", "1" * 17
    spec = definition(tmp_path, rows, stage=stage, columns={"solution": "solution"})
    found = findings(spec)
    refused = of(found, "refused")
    assert "π (U+03C0), which 1 of the 41 training problems holds" in refused[0][2]
    assert any("and are cut" in sentence for _, _, sentence in of(found, "warning"))


def test_privileged_texts_must_exist_and_lose_their_middle_with_a_warning(tmp_path: Path) -> None:
    rows = [{**row, "solution": ""} for row in with_row()]
    spec = definition(tmp_path, rows, columns={"solution": "solution"})
    spec["networks"]["teacher"]["context"] = {
        "kind": "privileged",
        "shows": "solution",
        "template": "{question} {privileged}",
    }
    _, path, sentence = of(findings(spec), "refused")[0]
    assert path == "networks.teacher.context.shows" and "have no solution" in sentence
    spec["networks"]["teacher"]["context"] = {
        "kind": "privileged",
        "shows": "answer",
        "template": "{question} {privileged}",
    }
    assert of(findings(spec), "refused") == []
    rows = with_row(answer="1" * 200)
    long = definition(tmp_path, rows, verifier={"kind": "exact"})
    long["networks"]["teacher"]["context"] = spec["networks"]["teacher"]["context"]
    assert any("loses its middle" in text for _, _, text in of(findings(long), "warning"))


def test_texts_of_a_teacher_must_cover_the_problems(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({**row, "response": "1"}) + "\n" for row in ROWS[:-1]))
    teacher = {"kind": "texts", "path": f"file:{texts}"}
    stage = {"source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    refused = of(findings(definition(tmp_path, teacher=teacher, stage=stage)), "refused")
    assert refused[0][1] == "networks.teacher.path"
    assert "has no answer to 1 of 40 training problems" in refused[0][2]


def test_a_confidence_must_fit_the_answers(tmp_path: Path) -> None:
    confidence = {"kind": "stated", "wording": "a{value}", "instruction": ""}
    assert of(findings(definition(tmp_path, confidence=confidence)), "refused") == []
    confidence["wording"] = "Confidence: {value}"
    refused = of(findings(definition(tmp_path, confidence=confidence)), "refused")
    assert any(path == "data.confidence" for _, path, _ in refused)


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
