"""Properties that hold for every answer of a kind, not only for those of the corpus."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.spec import ChoiceVerifier, MathVerifier, NumericVerifier
from trainer.text.verifiers.answer_regions import answered_text
from trainer.text.verifiers.choice import ChoiceJudge
from trainer.text.verifiers.math import MathJudge
from trainer.text.verifiers.numeric import NumericJudge

NUMERIC = NumericJudge(NumericVerifier())
CHOICE = ChoiceJudge(ChoiceVerifier())
MATH = MathJudge(MathVerifier())

REJECTING = (
    "The answer is not {0}.",
    "The answer isn't {0}.",
    "The answer cannot be {0}.",
    "It is anything but {0}.",
    "{0} is wrong.",
    "{0} is not correct.",
    r"It is not \boxed{{{0}}}.",
    r"\boxed{{{0}}} is incorrect.",
    "答案不是{0}。",
    "答えは{0}ではありません。",
    "정답은 {0}이 아닙니다.",
    "Die Antwort ist nicht {0}.",
    "La réponse n'est pas {0}.",
    "La respuesta no es {0}.",
    "Ответ: не {0}",
)
# {0} is right, {1} is rejected.
CONTRASTING = (
    "The answer is {0}, not {1}.",
    "The answer is not {1} but {0}.",
    "The answer is {0} rather than {1}.",
    r"\boxed{{{0}}} and not \boxed{{{1}}}.",
    "The answer is {1}. Wait, no, it is {0}.",
    "Answer: {1}? No, {0}.",
)
JOINING = ("{0} or {1}", "{0} and {1}", "{0}, {1}", "{0} to {1}", "{0} oder {1}", "{0}或{1}")
LETTERS = st.sampled_from("ABCD")
NUMBERS = st.integers(2, 10**6)

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"


def in_words(number: int) -> str:
    if number < 20:
        return SMALL.split()[number]
    for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            count, rest = divmod(number, size)
            return f"{in_words(count)} {name}" + (f" {in_words(rest)}" if rest else "")
    tens, ones = divmod(number, 10)
    return TENS.split()[tens] + (f"-{in_words(ones)}" if ones else "")


@given(NUMBERS, LETTERS, st.sampled_from(REJECTING))
def test_a_rejected_answer_is_never_right(number: int, letter: str, sentence: str) -> None:
    assert NUMERIC.judge(sentence.format(number), str(number)).correct is False
    assert CHOICE.judge(sentence.format(letter), letter).correct is False


@given(NUMBERS, NUMBERS, LETTERS, LETTERS, st.sampled_from(CONTRASTING))
def test_of_an_answer_and_a_rejected_one_the_answer_counts(
    right: int, rejected: int, letter: str, other: str, sentence: str
) -> None:
    if right != rejected:
        text = sentence.format(right, rejected)
        assert NUMERIC.judge(text, str(right)).correct
        assert NUMERIC.judge(text, str(rejected)).correct is False
    if letter != other:
        text = sentence.format(letter, other)
        assert CHOICE.judge(text, letter).correct
        assert CHOICE.judge(text, other).correct is False


@given(st.integers(2, 999), st.integers(2, 999), st.sampled_from(JOINING))
def test_two_numbers_are_not_one_of_them(first: int, second: int, joined: str) -> None:
    both = joined.format(first, second)
    for answer in (both, f"The answer is {both}.", rf"\boxed{{{both}}}"):
        verdicts = {NUMERIC.judge(answer, str(number)).correct for number in (first, second)}
        assert verdicts == {False}


@given(LETTERS, LETTERS, st.sampled_from(JOINING))
def test_two_options_are_no_choice(first: str, second: str, joined: str) -> None:
    if first != second:
        for text in (joined, f"The answer is {joined}."):
            assert CHOICE.judge(text.format(first, second), first).answer == ""


@given(st.integers(0, 10**9 - 1))
def test_every_number_in_words_is_read_back(number: int) -> None:
    assert NUMERIC.judge(f"The answer is {in_words(number)}.", str(number)).correct
    assert not NUMERIC.judge(f"The answer is {in_words(number)}.", str(number + 1)).correct


@given(st.integers(0, 50), st.integers(1, 59))
def test_hours_and_minutes_are_so_many_minutes(hours: int, minutes: int) -> None:
    text = f"{hours} hours and {minutes} minutes"
    assert NUMERIC.judge(text, f"{60 * hours + minutes} minutes").correct
    assert not NUMERIC.judge(text, str(minutes)).correct


@settings(deadline=None, max_examples=25)
@given(st.integers(-50, 49), st.integers(1, 50), st.booleans(), st.booleans())
def test_an_interval_is_the_same_in_every_spelling(
    low: int, width: int, is_left_open: bool, is_right_open: bool
) -> None:
    high = low + width
    left, right = "(["[not is_left_open], ")]"[not is_right_open]
    below, above = (r"\le" if not is_left_open else "<"), (r"\le" if not is_right_open else "<")
    spellings = (
        f"{left}{low}, {high}{right}",
        f"{low} {below} x {above} {high}",
        rf"x \in {left}{low},{high}{right}",
        rf"\{{x \mid {low} {below} x {above} {high}\}}",
        rf"x {above} {high} \text{{ and }} {low} {below} x",
    )
    for spelling in spellings:
        assert MATH.judge(rf"\boxed{{{spelling}}}", f"{low} {below} x {above} {high}").correct
        other = f"{low} {below} x {above} {high + 1}"
        assert MATH.judge(rf"\boxed{{{spelling}}}", other).correct is False


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(-9, 9), st.integers(1, 5))
def test_a_line_is_the_same_equation_in_every_form(slope: int, shift: int, factor: int) -> None:
    line = f"y = {slope}x + {shift}".replace("+ -", "- ")
    moved = rf"\boxed{{{factor * slope}x - {factor}y + {factor * shift} = 0}}".replace("+ -", "- ")
    assert MATH.judge(moved, line).correct
    assert MATH.judge(moved.replace("x -", "x +"), line).correct is False


@pytest.mark.parametrize(
    ("answer", "reference", "verdict"),
    [
        (r"\ln 2", r"\log 2", None),
        (r"\log 2", r"\log 2", True),
        (r"\log 3", r"\log 2", False),
        (r"\log_{10} 2", r"\log 2", None),
        (r"\ln 2", r"\log_2 2", False),
    ],
)
def test_a_logarithm_without_base_leaves_a_verdict_open_that_depends_on_it(
    answer: str, reference: str, verdict: bool | None
) -> None:
    assert MATH.judge(rf"\boxed{{{answer}}}", reference).correct is verdict


@given(st.text("ab "), st.integers(1, 4), st.sampled_from(["think", "thought"]))
def test_the_answer_is_after_all_reasoning_and_in_none_that_is_open(
    text: str, depth: int, name: str
) -> None:
    opened = f"<{name}>a{text}" * depth
    nested = opened + f"</{name}>" * depth
    assert answered_text(f"{nested}5", NumericVerifier()) == "5"
    assert answered_text(f"{opened}5", NumericVerifier()) == ""
    assert answered_text(f"{nested}5{opened}", NumericVerifier()) == ""
