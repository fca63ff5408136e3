"""The statement of a confidence: reading, rejected statements, and writing what is read."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.spec.confidence import StatedConfidence
from trainer.text.calibration.codec import Codec, Problem, Reading

LINE = Codec(StatedConfidence())
INLINE = Codec(
    StatedConfidence(wording=" conf:{value}", own_line=False, decimals=1, instruction="")
)
BRACKETS = Codec(StatedConfidence(wording="(I am {value} sure)", own_line=False, decimals=3))
CODECS = st.sampled_from([LINE, INLINE, BRACKETS])

texts = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            [
                "\n",
                "42",
                "Confidence:",
                "\nConfidence: 0.7",
                " conf:0.3",
                "conf:",
                "(I am 0.5 sure)",
                "Confidence: high",
                "9",
            ]
        ),
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42\nConfidence: 0.38", 0.38),
        ("Confidence: 0.9.", 0.9),
        ("Confidence: .85", 0.85),
        ("Confidence: 1", 1.0),
        ("Confidence: 0", 0.0),
        ("Confidence: 85%", 0.85),
        ("Confidence: 85 %", 0.85),
        ("**Confidence**: 0.7", 0.7),
        ("**Confidence:** 0.7", 0.7),
        ("> _confidence_ :0.7_", 0.7),
        ("- CONFIDENCE: **0.7**", 0.7),
        ("Confidence: (0.7)", 0.7),
        ("Confidence: 0.7 (quite sure)\n\n", 0.7),
        ("Confidence: <a number>\nConfidence: 0.2", 0.2),
        ("Confidence: 0.2\nConfidence: 0.20", 0.2),
        ("My Confidence: 0.1 is low.\nConfidence: 0.2", 0.2),
        ("Confidence:\n0.4", 0.4),
        ("**Confidence:**\n\t**0.4**.\n", 0.4),
        ("42\n<confidence>0.4</confidence>", 0.4),
        ("so <Confidence> 85% </Confidence>.", 0.85),
        ("Confidence: 0.5 % sure", 0.5),
        ("Confidence: 5 %", 0.05),
        # As in the released code, tags count only where the wording does not occur.
        ("Confidence: 0.2\n<confidence>0.3</confidence>", 0.2),
    ],
)
def test_a_number_is_read(text: str, value: float) -> None:
    assert LINE.read(text) == Reading(value)


@pytest.mark.parametrize(
    "text",
    [
        "Confidence: 0.2\nConfidence: 0.3",
        "Confidence: 0.2\nConfidence:\n0.3",
        "<confidence>0.2</confidence> <confidence>0.3</confidence>",
    ],
)
def test_the_last_of_two_statements_counts_and_both_are_reported(text: str) -> None:
    assert LINE.read(text) == Reading(0.3, "duplicated")


@pytest.mark.parametrize(
    ("instruction", "value"),
    [("State how sure you are in percent.", 0.005), ("State it from 0 to 1.", 0.5)],
)
def test_half_a_percent_is_a_percentage_only_where_percent_is_asked_for(
    instruction: str, value: float
) -> None:
    codec = Codec(StatedConfidence(instruction=instruction))
    assert codec.read("Confidence: 0.5 % sure") == Reading(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "missing"),
        ("I state Confidence: 0.4 here", "missing"),
        ("Confidence interval: 0.95", "missing"),
        ("Confidence: 85", "out_of_range"),
        ("Confidence: 8", "out_of_range"),
        ("Confidence: -0.1", "out_of_range"),
        ("Confidence: 120%", "out_of_range"),
        ("Confidence: 1.2.3", "malformed"),
        ("Confidence: .", "malformed"),
        ("Confidence:", "malformed"),
        ("Confidence:\n4. Check", "malformed"),
        ("Confidence: high", "malformed"),
        ("Confidence: 8/10", "malformed"),
        ("Confidence: nan", "malformed"),
        ("Confidence: 0.9\nConfidence: high", "malformed"),
        ("<confidence>high</confidence>", "malformed"),
        ("<confidence>0.4", "missing"),
    ],
)
def test_an_unreadable_confidence_has_a_problem(text: str, problem: Problem) -> None:
    assert LINE.read(text) == Reading(None, problem)


def test_a_statement_in_running_text_is_read() -> None:
    assert INLINE.read("12+30=42 conf:0.4") == Reading(0.4)
    assert INLINE.read("42 conf:0.4 conf:0.5") == Reading(0.5, "duplicated")
    assert INLINE.read("42 conf:") == Reading(None, "malformed")
    assert INLINE.read("42 conf: conf:0.4") == Reading(0.4)
    assert INLINE.read("42") == Reading(None, "missing")
    assert BRACKETS.read("42 (I am 0.4 sure)") == Reading(0.4)


@pytest.mark.parametrize(
    ("codec", "text", "reasoning"),
    [
        (INLINE, "42 conf:0.4", "42"),
        (BRACKETS, "42 (I am 0.4 sure), yes", "42 , yes"),
        (LINE, "42\nConfidence: 0.9", "42\n"),
        (LINE, "42\n**Confidence:** 0.9\nSo 42", "42\n\nSo 42"),
        (LINE, "42\nConfidence: 0.9\nConfidence: 0.8", "42\n\n"),
        (LINE, "42\nConfidence: very high", "42\n"),
        (LINE, "42\nConfidence:\n0.9\nSo 42", "42\n\nSo 42"),
        (LINE, "42 <confidence>0.9</confidence> yes", "42  yes"),
        (LINE, "Confidence: is a word\n42\nConfidence: 0.1", "Confidence: is a word\n42\n"),
        (LINE, "Say `Confidence: 0.1` last: 42", "Say `Confidence: 0.1` last: 42"),
    ],
)
def test_only_the_statements_are_removed(codec: Codec, text: str, reasoning: str) -> None:
    assert codec.strip(text) == reasoning


def test_pass_rates_of_eight_are_right_on_average() -> None:
    statements = [LINE.render(k / 8).removeprefix("Confidence: ") for k in range(9)]
    assert statements == ["0.00", "0.12", "0.25", "0.38", "0.50", "0.62", "0.75", "0.88", "1.00"]
    assert sum(map(float, statements)) == pytest.approx(4.5)
    assert max(abs(LINE.rounded(k / 8) - k / 8) for k in range(9)) == pytest.approx(0.005)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_only_a_share_can_be_written(value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LINE.render(value)


def test_the_prompt_asks_for_it_unless_the_instruction_is_empty() -> None:
    assert LINE.instruction("1+1?").startswith(
        "1+1?\nEnd with one last line that begins with `Confidence:`"
    )
    assert INLINE.instruction("1+1?") == "1+1?"


@given(codec=CODECS, value=st.floats(0, 1))
def test_what_is_written_is_read(codec: Codec, value: float) -> None:
    value_read = codec.read("42" + codec.separator("42") + codec.render(value)).value
    assert value_read == codec.rounded(value)
    assert abs(value_read - value) <= 0.5 * 10**-codec.settings.decimals + 1e-12


@given(codec=CODECS, text=texts, value=st.floats(0, 1))
def test_a_replaced_confidence_is_the_one_that_is_read(
    codec: Codec, text: str, value: float
) -> None:
    replaced = codec.replace(text, value)
    assert codec.read(replaced) == Reading(codec.rounded(value))
    assert codec.replace(replaced, value) == replaced
    assert codec.strip(replaced).rstrip("\n") == codec.strip(text).rstrip("\n")


WORDINGS = [
    "______{value}",
    "{value}",
    "p: {value} {value}",
    "p:\n{value}",
    "p:{value}\n",
    "p\u2028{value}",
    "p\xa0{value}",
    "\u3000p: {value}",
    "p: {value}%",
    "p: {value} %",
    "p: {value}. %",
    "p: {value}/1",
    "p: {value}0",
    "p: {value}x",
    "p: {value} 1",
]


@pytest.mark.parametrize("wording", WORDINGS)
def test_a_wording_that_could_not_be_read_back_is_refused(wording: str) -> None:
    with pytest.raises(ValidationError, match=r"\{value\}|on one line"):
        StatedConfidence(wording=wording)


signs = st.text("aB7 :-*_`>.,%([{\"'$~}])é中", max_size=6)
beginnings = st.tuples(signs, st.sampled_from("aB7é"), signs).map("".join)
endings = st.tuples(
    st.text(".,;:!?)]}\"'$", max_size=3),
    st.text("*_`", max_size=2),
    st.one_of(st.just(""), signs.map(lambda text: " " + text)),
)


@settings(deadline=None, max_examples=300)
@example(before="_a", after="", own_line=False, decimals=1, value=0)
@example(before="*a", after="", own_line=False, decimals=1, value=0)
@given(
    before=beginnings,
    after=endings.map("".join),
    own_line=st.booleans(),
    decimals=st.integers(1, 4),
    value=st.sampled_from([0, 0.375, 1]),
)
def test_every_wording_that_is_accepted_is_read_back(
    before: str, after: str, own_line: bool, decimals: int, value: float
) -> None:
    assume("%" not in after and "7" not in after)
    start, end = (re.sub(r"[ *_`]", "", text).casefold() for text in (before, after))
    assume(own_line or start not in end)  # refused: see the test below
    settings_drawn = StatedConfidence(
        wording=f"{before}{{value}}{after}", own_line=own_line, decimals=decimals
    )
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    codec = Codec(settings_drawn)
    assert codec.read(codec.render(value)) == Reading(float(rounded))


@pytest.mark.parametrize("wording", ["é{value}: é", "conf {value}; CONF", "sure:{value} **sure**:"])
def test_a_wording_whose_end_repeats_its_start_needs_its_own_line(wording: str) -> None:
    with pytest.raises(ValidationError, match="repeats the words before"):
        StatedConfidence(wording=wording, own_line=False)
    codec = Codec(StatedConfidence(wording=wording))
    assert codec.read(codec.render(0.25)) == Reading(0.25)
