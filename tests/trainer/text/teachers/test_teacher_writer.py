"""Answers of every kind of teacher, in the student's tokens and with verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.teachers.classroom import (
    PROSE,
    SHOWN,
    definition,
    opened,
    prose_folder,
    question,
    reader,
    student,
)
from tests.trainer.text.teachers.endpoint_server import Server, completion, running
from tests.trainer.text.tiny import EOS
from trainer.engine.outcome import RunRefused
from trainer.spec import NumericVerifier, Sampling
from trainer.text.language.chat import text_ids
from trainer.text.language.models import ModelError
from trainer.text.language.tokenizers import decode
from trainer.text.problems import Message, ProblemError
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.teacher_writer import TeacherWriter, WrittenAnswers, write_answers
from trainer.text.verifiers import Verifier

WRITTEN = [{"source": "teacher_written", "objective": {"kind": "cross_entropy"}}]
LAW = Sampling(max_new_tokens=12)
NOISE = Noise(0, 0, "teacher")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TeacherWriter]:
    with Verifier(NumericVerifier()) as verifier:
        yield TeacherWriter(reader(), SamplerAndJudge(verifier, "{question}", lambda: 16), tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as result:
        yield result


def answered(path: Path, *rows: dict[str, Any]) -> Teachers:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return opened(definition({"kind": "texts", "path": f"file:{path}"}, WRITTEN))


def asked_at(server: Server, **changes: Any) -> Teachers:
    return opened(
        definition({"kind": "endpoint", "url": server.url, "model": "big", **changes}, WRITTEN)
    )


def write(teachers: Teachers, writer: TeacherWriter, *questions: Question) -> WrittenAnswers:
    return write_answers(teachers, questions, LAW, NOISE, writer)


def test_texts_become_ids_of_the_student_with_its_end_token_and_verdicts(
    tmp_path: Path, writer: TeacherWriter
) -> None:
    rows = [
        {"question": " 2+2= ", "response": "it is 5"},
        {"question": "1+1=", "response": "it is 2"},
    ]
    teachers = answered(tmp_path / "t.jsonl", *rows, {"question": "1+1=", "response": "later"})
    right, wrong = write(teachers, writer, question("1+1=", "2"), question("2+2=", "4")).answers
    assert (
        right.ids == (*text_ids(reader(), "it is 2"), EOS)
        and decode(reader(), right.ids) == right.text == "it is 2"
    )
    assert (right.verdict, right.read, right.truncated, right.source, right.prompt) == (
        True,
        "2",
        False,
        "teacher",
        question("1+1=").prompt,
    )
    assert wrong.verdict is False and right.logprobs is None and right.entropies is None


def test_a_text_longer_than_the_longest_answer_is_cut_and_counts_as_such(
    tmp_path: Path, writer: TeacherWriter
) -> None:
    rows = [
        {"question": "a", "response": "1234567890 2"},
        {"question": "b", "response": "1234567890."},
    ]
    truncated, finished = write(
        answered(tmp_path / "t.jsonl", *rows), writer, question("a", "2"), question("b")
    ).answers
    assert (len(truncated.ids), truncated.truncated, truncated.verdict) == (
        12,
        True,
        False,
    ) and EOS not in truncated.ids
    assert (len(finished.ids), finished.truncated) == (12, False)


def test_a_spelt_out_end_token_is_plain_text(tmp_path: Path, writer: TeacherWriter) -> None:
    (answer,) = write(
        answered(tmp_path / "t.jsonl", {"question": "a", "response": "x<eos>y"}),
        writer,
        question("a"),
    ).answers
    assert answer.text == "x<eos>y" and answer.ids.count(EOS) == 1


def test_stored_texts_are_matched_with_the_turns_before_a_question(
    tmp_path: Path, writer: TeacherWriter
) -> None:
    def conversation(first: str, reply: str, last: str) -> dict[str, Any]:
        texts = [("user", first), ("assistant", reply), ("user", "more?"), ("assistant", last)]
        return {"chat": [{"role": role, "content": text} for role, text in texts]}

    path = tmp_path / "t.jsonl"
    rows = [conversation("1+1=", "2", "3"), conversation("2+2=", "4", "5")]
    path.write_text("\n".join(map(json.dumps, rows)))
    teacher = {"kind": "texts", "path": f"file:{path}", "question": "chat", "response": "chat"}
    asked = question("more?", "5")
    history = (Message("user", "2+2="), Message("assistant", "4"))
    asked = replace(asked, problem=replace(asked.problem, history=history))
    (answer,) = write(opened(definition(teacher, WRITTEN)), writer, asked).answers
    assert (answer.text, answer.verdict) == ("5", True)


def test_missing_texts_are_refused_before_the_run_with_their_number(tmp_path: Path) -> None:
    rows = [{"question": "1+1=", "response": "2"}, {"question": "2+2=", "response": " "}]
    with pytest.raises(
        ProblemError,
        match=r"t\.jsonl has no answer to 2 of 3 training problems, "
        r"the first of which asks “2\+2=”",
    ):
        answered(tmp_path / "t.jsonl", *rows).check(
            [question("1+1="), question("2+2="), question("3+3=")]
        )


def test_a_file_without_the_named_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ProblemError,
        match=r"row 1 of t\.jsonl has no column “response”; "
        r"it has “question”, “answer”",
    ):
        answered(tmp_path / "t.jsonl", {"question": "1+1=", "answer": "2"}).check(
            [question("1+1=")]
        )


def test_a_text_that_the_student_cannot_write_is_refused(
    tmp_path: Path, writer: TeacherWriter
) -> None:
    with pytest.raises(ModelError, match="lacks a character of “π is 3”"):
        write(
            answered(tmp_path / "t.jsonl", {"question": "a", "response": "π is 3"}),
            writer,
            question("a"),
        )


def test_an_endpoint_is_shown_the_privileged_text_within_its_budget(
    server: Server, writer: TeacherWriter
) -> None:
    teachers = asked_at(server, context={**SHOWN, "most_tokens": 9})
    write(teachers, writer, question("q", solution="a long solution"))
    assert server.bodies[0]["messages"][0]["content"] == "q|a lo…tion|again"


def test_an_endpoint_answers_and_its_cost_is_shown_for_the_whole_run(
    server: Server, writer: TeacherWriter
) -> None:
    server.script = [
        completion("so 2", tokens=500_000),
        completion("and so", "length", tokens=250_000),
    ]
    teachers = asked_at(server, price=4.0, at_once=1)
    first = write(teachers, writer, question("1+1=", "2"))
    second = write(teachers, writer, question("2+2=", "4"), question("1+1=", "2"))
    assert first.metrics == {
        "teacher/tokens": 500_000,
        "teacher/cost": 2.0,
        "teacher/unanswered": 0.0,
    }
    assert second.metrics == {
        "teacher/tokens": 750_000,
        "teacher/cost": 3.0,
        "teacher/unanswered": 0.0,
    }
    truncated, repeated = second.answers
    assert (repeated.ids, repeated.verdict) == (first.answers[0].ids, True)
    assert (truncated.truncated, truncated.verdict) == (True, False) and EOS not in truncated.ids
    assert (writer.run_dir / "teacher_cache").is_dir()


def test_a_missing_key_is_refused_before_the_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STILLROOM_SECRET_BIG", raising=False)
    with pytest.raises(
        RunRefused,
        match=r"networks\.teacher\.key is secret:big, but this worker has no such secret",
    ):
        asked_at(server, key="secret:big").check([question()])


def test_a_model_is_asked_with_its_own_prompt_and_answers_behind_the_students(
    writer: TeacherWriter,
) -> None:
    teachers = opened(
        definition(
            {"kind": "model", "model": f"file:{prose_folder(seed=3)}", "context": SHOWN}, WRITTEN
        )
    )
    (answer,) = write(teachers, writer, question("q")).answers
    view = teachers.loaded[0]
    sampled = writer.sampler.sample_answers(
        view.language_model,
        [Question(question("q").problem, view.prompt(question("q")), "q")],
        [(0,)],
        LAW,
        NOISE,
    )
    assert (
        answer.ids == sampled[0].ids and answer.prompt == question("q").prompt != sampled[0].prompt
    )
    assert answer.source == "teacher" and answer.logprobs is not None


def test_a_model_with_another_tokenizer_is_encoded_again(writer: TeacherWriter) -> None:
    teachers = opened(
        definition(
            {"kind": "model", "model": f"file:{prose_folder(seed=3, characters=PROSE[::-1])}"},
            WRITTEN,
        )
    )
    (answer,) = write(teachers, writer, question("q")).answers
    expected = teachers.loaded[0].prompt(question("q"))
    (sampled,) = writer.sampler.sample_answers(
        teachers.loaded[0].language_model,
        [Question(question("q").problem, expected, "q")],
        [(0,)],
        LAW,
        NOISE,
    )
    assert answer.text == sampled.text and answer.ids != sampled.ids and answer.logprobs is None
    assert answer.prompt == question("q").prompt


def test_each_question_goes_to_the_teacher_of_its_domain(
    server: Server, writer: TeacherWriter
) -> None:
    specialist = {
        "domains": ["algebra"],
        "teacher": {"kind": "model", "model": f"file:{prose_folder(seed=3)}"},
    }
    main = {"kind": "endpoint", "url": server.url, "model": "big"}
    teachers = opened(definition(main, WRITTEN, specialists=[specialist]), student())
    questions = [question("a"), question("b", domain="algebra"), question("c")]
    teachers.check(questions)
    answers = write(teachers, writer, *questions).answers
    assert [answer.problem.question for answer in answers] == ["a", "b", "c"]
    assert [answers[0].text, answers[2].text] == ["echo a", "echo c"] and len(server.bodies) == 2
    assert not teachers.gives_probabilities
