"""A preflight finds what a run would refuse or do wrong, and nothing in a run that is right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.shared_cases import case, needs_cases
from tests.trainer.text.preflight.definitions import ROWS, definition, findings, of
from tests.trainer.text.preflight.tokenizers import (
    replacing_tokenizer,
    with_row,
    with_tokenizer,
)
from tests.trainer.text.test_ends_in_runs import edited, pair
from tests.trainer.text.tiny import CHARACTERS, character_tokenizer, save_folder
from trainer.text.builtin import __file__ as builtin

BUILTIN = Path(builtin).parent
STUDENT = "networks.student.model"


def test_a_run_that_is_right_has_facts_alone(tmp_path: Path) -> None:
    found = findings(definition(tmp_path))
    assert of(found, "refused") == of(found, "warning") == []
    assert (
        "length",
        "data.train",
        "The prompts of 40 training problems have 4 to 5 tokens with the student (median 5); "
        "answers have at most 16, and the model reads 128.",
    ) in of(found, "fact")


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


def test_of_a_teacher_on_servers_the_tokenizer_is_checked(tmp_path: Path) -> None:
    teacher = {
        "kind": "served",
        "urls": ["http://localhost:1"],
        "model": "large",
        "tokenizer": f"file:{another(tmp_path)}",
        "gives": {"kind": "hidden_states", "head": "builtin:teacher"},
    }
    found = findings(definition(tmp_path, teacher=teacher))
    assert [(kind, path) for kind, path, _ in of(found, "refused")] == [
        ("vocabulary", "networks.teacher.tokenizer")
    ]
    assert any("were not asked" in sentence for _, _, sentence in of(found, "fact"))


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
