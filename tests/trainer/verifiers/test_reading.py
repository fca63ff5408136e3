"""How each kind of verifier reads answers and references."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import ChoiceVerifier, ExactVerifier, NumericVerifier
from trainer.text.verifiers.choice import ChoiceJudge
from trainer.text.verifiers.exact import ExactJudge
from trainer.text.verifiers.numeric import NumericJudge, answer_number
from trainer.text.verifiers.records import LONGEST_ANSWER

NUMERIC = NumericJudge(NumericVerifier())
CHOICE = ChoiceJudge(ChoiceVerifier())


def read_number(text: str) -> Fraction | None:
    quantity = answer_number(text, NumericVerifier())
    return quantity.value if quantity else None


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ("7+5+0=12,4+8+1=13>132", 132),
        ("She makes $1,234.50 every day.", Fraction(2469, 2)),
        ("that is -$5", -5),
        ("it costs $-5.", -5),
        ("x = −3", -3),
        ("3/4 of it", Fraction(3, 4)),
        (r"so \frac{1}{2}", Fraction(1, 2)),
        (r"so -\dfrac{1}{2}", Fraction(-1, 2)),
        ("6.02e23", 602 * 10**21),
        (".5 km", Fraction(1, 2)),
        ("50%", 50),
        ("42.", 42),
        ("٤٢", 42),
        ("8 of 9\n#### 18 dollars", 18),
        ("#### 1,000\n", 1000),
        (r"I get \boxed{\text{about } 12} or 13", 12),
        (r"\boxed{5} #### 6", 6),
        (r"#### 6, so \boxed{5}", 5),
    ],
)
def test_the_number_that_answers_is_read(completion: str, number: Fraction | int) -> None:
    assert read_number(completion) == number


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "no idea",
        "#### none",
        r"5 \boxed{x}",
        "1/0",
        "9" * 2000,
        "20-3",
        "1,2345",
        "#### 18 dollars, not 20",
        r"\boxed{7",
        "4 and then 3/0",
    ],
)
def test_a_completion_without_a_number_is_wrong(completion: str) -> None:
    assert read_number(completion + " ") is None
    assert NUMERIC.judge(completion + " ", "5").correct is False


def test_decimals_are_compared_exactly() -> None:
    third = NumericJudge(NumericVerifier(tolerance=1e-3))
    assert NUMERIC.judge("0.30", "0.3").correct
    assert not NUMERIC.judge("0.30000000000000000001", "0.3").correct
    assert not NUMERIC.judge("0.333", "1/3").correct
    assert third.judge("0.333", "1/3").correct
    assert not third.judge("0.332", "1/3").correct


def test_a_tolerance_is_relative_and_exact_at_its_edge() -> None:
    judge = NumericJudge(NumericVerifier(tolerance=0.1))
    assert judge.judge("110", "100").correct
    assert not judge.judge("110.0001", "100").correct
    assert judge.judge("-90", "-100").correct
    assert not judge.judge("0.0001", "0").correct


def test_a_reference_without_a_number_leaves_the_verdict_open() -> None:
    assert NUMERIC.judge("5", "blue").correct is None
    assert NUMERIC.read_reference("blue") == ""
    assert NUMERIC.read_reference("… so\n#### 70,000") == "70,000"


@given(st.fractions(max_denominator=10**6))
def test_every_fraction_is_read_back(number: Fraction) -> None:
    assert read_number(f"it is {number.numerator}/{number.denominator}") == number


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
    )
)
def test_thousands_separators_do_not_matter(number: object) -> None:
    assert NUMERIC.judge(f"it is {number:,}", f"{number}").correct


@given(st.integers(2, 10**6), st.integers(2, 10**6), st.sampled_from("+-*/^:√ ,x"))
def test_two_numbers_with_a_sign_between_are_not_the_second(a: int, b: int, sign: str) -> None:
    reading = read_number(f"it is {a}{sign}{b}")
    assert reading is None or reading != b or (sign == "," and a * 1000 + b == reading)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{,}", r"\,", ",\\!", ",", "\u202f"]))
def test_every_separator_of_thousands_is_read(number: int, separator: str) -> None:
    assert read_number(rf"\boxed{{{f'{number:,}'.replace(',', separator)}}}") == number


@pytest.mark.parametrize(
    "unit", ["1", " ", "\\boxed{", "1,", "$1 ", "#", "\n", "答案是", "<think>", "2^", "Q: 5\n"]
)
def test_hostile_text_gets_a_verdict(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    for judge in (NUMERIC, CHOICE):
        assert judge.judge(text, judge.read_reference("A") or "5").correct in (True, False)


@given(st.text(), st.text())
def test_whatever_was_written_gets_a_verdict_that_can_be_shown(
    completion: str, reference: str
) -> None:
    for judge in (
        NUMERIC,
        CHOICE,
        ExactJudge(ExactVerifier()),
        ExactJudge(ExactVerifier(after=":", ignore_case=True)),
    ):
        verdict = judge.judge(completion, reference)
        verdict.answer.encode()
        assert len(verdict.answer) <= LONGEST_ANSWER
        assert (verdict.correct is None) == (judge.read_reference(reference) == "")


@given(st.text())
def test_a_text_equals_itself(text: str) -> None:
    judge = ExactJudge(ExactVerifier())
    assert judge.judge(f"  {text}\n", text).correct in (True, None)


def test_exact_answers_may_follow_a_marker() -> None:
    judge = ExactJudge(ExactVerifier(after="Answer:", ignore_case=True))
    assert judge.judge("Answer: no. Answer: The  Moon ", "the moon").correct
    assert judge.judge("the moon", "the moon").correct is False
    assert not ExactJudge(ExactVerifier()).judge("The Moon", "the moon").correct


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("The answer is (B).", "B"),
        ("Answer: C", "C"),
        ("The correct answer is **D**.", "D"),
        ("b", "B"),
        ("(a)", "A"),
        (r"\boxed{\text{D}}", "D"),
        ("#### c", "C"),
        ("A man chooses between (A) and (B). I choose (B)", "B"),
        ("I would take C", "C"),
        ("Answer: A? No. The answer is B", "B"),
        ("It's about a dog", ""),
        ("E", ""),
        ("BAD", ""),
        ("", ""),
    ],
)
def test_the_chosen_letter_is_read(completion: str, letter: str) -> None:
    assert CHOICE.judge(completion, "A").answer == letter


def test_a_choice_may_be_written_out_in_the_reference() -> None:
    assert CHOICE.judge("B", "(B) the moon").correct
    assert CHOICE.judge("B", "2").correct is None


def test_other_letters_may_be_chosen() -> None:
    assert ChoiceJudge(ChoiceVerifier(choices="PQ")).judge("The answer is Q", "Q").correct
