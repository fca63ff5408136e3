"""What a teacher is shown, in which words, and within which length."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.teachers.classroom import (
    PROSE,
    SHOWN,
    an_answer,
    merging_folder,
    prose_folder,
    question,
    reader,
)
from trainer.spec import Network, PlainContext, PrivilegedContext
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.tokenizers import decode
from trainer.text.problems import Message, Problem, ProblemError
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.contexts import (
    PromptFormatter,
    fits_tokens,
    privileged_text,
    prompt_text,
    require_privileged,
)

PROBLEM = question().problem
BOTH = PrivilegedContext(template="{question}|{privileged}|again")


@pytest.fixture(scope="module")
def merging(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(Network(model=f"file:{merging_folder(tmp_path_factory.mktemp('merging'))}"))


def showing(shows: str, **changes: object) -> PrivilegedContext:
    return PrivilegedContext.model_validate({**SHOWN, "shows": shows, **changes})


def written(formatter: PromptFormatter, question: Question, privileged: str, note: str = "") -> str:
    return decode(formatter.language_model, formatter.prompt(question, privileged, note))


def test_a_plain_context_shows_nothing() -> None:
    assert privileged_text(PlainContext(), PROBLEM, an_answer("2", True)) == ""
    assert prompt_text(PlainContext(), "1+1=", "the solution") == "1+1="


def test_the_teacher_reads_the_history_before_its_own_prompt() -> None:
    messages = (Message("system", "brief"), Message("user", "1+0="), Message("assistant", "1"))
    asked = question()
    asked = replace(asked, problem=replace(asked.problem, history=messages))
    text = written(PromptFormatter(reader(), BOTH, 4), asked, "1+1 is 2")
    expected = [
        "brief",
        "User: 1+0=",
        "Assistant: 1",
        f"User: {asked.text}|1+1 is 2|again",
        "Assistant:",
    ]
    assert text == "\n\n".join(expected)


def test_solution_and_answer_come_from_the_problem() -> None:
    assert privileged_text(showing("solution"), PROBLEM) == "1+1 is 2"
    assert privileged_text(showing("answer"), PROBLEM) == "2"


def test_a_demonstration_is_an_accepted_answer_preferably_another_one() -> None:
    target, wrong, accepted = (
        an_answer("own", True),
        an_answer("wrong", False, 1),
        an_answer("other", True, 2),
    )
    context = showing("demonstration")
    assert privileged_text(context, PROBLEM, target, [target, wrong, accepted]) == "other"
    assert privileged_text(context, PROBLEM, target, [target, wrong]) == "own"
    assert (
        privileged_text(context, PROBLEM, wrong, [wrong, an_answer("untold", None)]) == "1+1 is 2"
    )


@pytest.mark.parametrize(
    ("verdict", "truncated", "phrase"),
    [
        (True, False, "is right"),
        (False, False, "is wrong"),
        (None, False, "could not be told"),
        (False, True, "cut off"),
    ],
)
def test_feedback_is_the_own_answer_with_the_verdict_in_words(
    verdict: bool | None, truncated: bool, phrase: str
) -> None:
    feedback = privileged_text(
        showing("feedback"), PROBLEM, an_answer("it is 2", verdict, truncated=truncated)
    )
    assert feedback.startswith("it is 2\n\n") and phrase in feedback


def test_template_names_in_the_question_are_not_replaced() -> None:
    assert (
        prompt_text(BOTH, "what is {privileged}?", "a {question}")
        == "what is {privileged}?|a {question}|again"
    )


def test_a_note_follows_the_privileged_text_and_stands_before_the_closing_request() -> None:
    assert prompt_text(BOTH, "q", "s", "note") == "q|s\n\nnote|again"
    assert prompt_text(PlainContext(), "q", "", "note") == "q\n\nnote"


def test_problems_without_what_is_shown_are_refused_with_their_number() -> None:
    problems = [PROBLEM, Problem("bare", "2+2=", "4")]
    require_privileged(showing("answer"), problems)
    require_privileged(PlainContext(), problems)
    with pytest.raises(
        ProblemError,
        match=r"1 of 2 training problems .* have no solution.*data\.train\.columns\.solution",
    ):
        require_privileged(showing("demonstration"), problems)


def test_a_text_that_fits_is_shown_whole() -> None:
    assert (
        written(PromptFormatter(reader(), BOTH, 16), question("q"), "solution")
        == "q|solution|again"
    )


def test_too_long_a_text_loses_its_middle() -> None:
    within_seven = BOTH.model_copy(update={"most_tokens": 7})
    assert (
        written(PromptFormatter(reader(), within_seven, 16), question("q"), "abcdefghij")
        == "q|abc…hij|again"
    )


def test_a_tokenizer_without_an_ellipsis_gets_three_full_stops() -> None:
    model = load(Network(model=f"file:{prose_folder(characters=PROSE[:-1])}"))
    within_seven = BOTH.model_copy(update={"most_tokens": 7})
    assert (
        written(PromptFormatter(model, within_seven, 16), question("q"), "abcdefghij")
        == "q|ab...ij|again"
    )


def test_a_note_is_never_cut() -> None:
    text = written(PromptFormatter(reader(), BOTH, 80), question("q"), "s" * 200, "note that")
    assert "…" in text and text.endswith("\n\nnote that|again")


def test_a_question_that_does_not_fit_with_nothing_shown_is_refused() -> None:
    with pytest.raises(
        ModelError,
        match=r"A prompt of 57 tokens and an answer of up to 72 do not fit .*, "
        r"which reads 128 tokens",
    ):
        PromptFormatter(reader(), BOTH, 72).prompt(question("q" * 50), "solution")


@settings(deadline=None, max_examples=40)
@given(
    question_text=st.text("abc ", min_size=1, max_size=40),
    privileged=st.text("the sum of all 123\n", max_size=300),
    longest=st.integers(1, 60),
    most=st.integers(1, 60),
    note=st.sampled_from(["", "a note"]),
)
def test_prompt_and_answer_always_fit_and_the_question_stays_whole(
    merging: LanguageModel, question_text: str, privileged: str, longest: int, most: int, note: str
) -> None:
    context = BOTH.model_copy(update={"most_tokens": most})
    prompt = PromptFormatter(merging, context, longest).prompt(
        question(question_text), privileged, note
    )
    text = decode(merging, prompt)
    excerpt = (
        text.removeprefix(f"{question_text}|")
        .removesuffix("|again")
        .removesuffix(note)
        .removesuffix("\n\n" if note else "")
    )
    assert len(prompt) + longest <= merging.max_length
    assert text == prompt_text(context, question_text, excerpt, note)
    assert fits_tokens(merging, excerpt, most) or excerpt == ""
    head, ellipsis, tail = excerpt.partition("…")
    assert excerpt in (privileged, "") or (
        ellipsis
        and privileged.startswith(head)
        and privileged.endswith(tail)
        and abs(len(head) - len(tail)) <= 1
    )


@settings(deadline=None, max_examples=40)
@given(privileged=st.text("abc", max_size=60), most=st.integers(1, 60))
def test_nothing_is_cut_that_would_have_fitted(privileged: str, most: int) -> None:
    text = written(
        PromptFormatter(reader(), BOTH.model_copy(update={"most_tokens": most}), 16),
        question("q"),
        privileged,
    )
    excerpt = text.removeprefix("q|").removesuffix("|again")
    assert (
        excerpt == privileged
        if len(privileged) <= most
        else len(excerpt) in ((most,) if most > 1 else (0,))
    )
