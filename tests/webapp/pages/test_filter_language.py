"""The filter language of the list of runs: every text is read or refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.pages.runs.finding.filter_language import (
    LONGEST_FILTER,
    MOST_CONDITIONS,
    FilterError,
    Term,
    read,
    written,
)

# Text in which quotation marks, signs, minus and spaces are likely.
TEXTS = st.text(st.sampled_from(list('ab1.-:=<>!"\\ \u2003\n')) | st.characters(), max_size=40)
SIGNS = st.sampled_from([":", "=", "!=", "<", "<=", ">", ">="])
FILLED = TEXTS.filter(bool)
TERMS = st.builds(Term, FILLED, is_negated=st.booleans()) | st.builds(
    Term, FILLED, FILLED, SIGNS, st.booleans()
)


@given(TEXTS)
@settings(max_examples=200)
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        terms, sentence = read(text), ""
    except FilterError as error:
        terms, sentence = [], str(error)
    assert read(written(terms)) == terms
    assert not sentence or (sentence.endswith(".") and " at character " in sentence)


@given(st.lists(TERMS, max_size=5))
@settings(max_examples=100)
def test_written_terms_are_read_as_they_were(terms: list[Term]) -> None:
    assert read(written(terms)) == terms


def test_terms_are_words_and_conditions() -> None:
    assert read('  state:running pass_rate>0.6 -tag:old name:"two words" paced "a:b" -x') == [
        Term("running", "state", ":"),
        Term("0.6", "pass_rate", ">"),
        Term("old", "tag", ":", is_negated=True),
        Term("two words", "name", ":"),
        Term("paced"),
        Term("a:b"),
        Term("x", is_negated=True),
    ]
    assert [term.position for term in read("lr<1  tag:x")] == [1, 7]
    assert read('lr > 1e-3 -tag: old "a b" =c d') == [
        Term("1e-3", "lr", ">"),
        Term("old", "tag", ":", is_negated=True),
        Term("c", "a b", "="),
        Term("d"),
    ]
    assert read("pass_rate >= 40 % x") == [Term("40%", "pass_rate", ">="), Term("x")]
    assert read(r'"say \"hi\" \\"') == [Term('say "hi" \\')]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('tag:x name:"two', "The quotation mark at character 12 is not closed"),
        ("a lr<", "“lr<” at character 3 has no value"),
        ("tag: state:running", "“tag:” at character 1 has no value"),
        ("a - b", "Nothing follows the minus at character 3"),
        ('tag:""', "The quotation marks at character 1 hold no text"),
        ('"a"b', "A space is missing after the quotation mark at character 3"),
        ("a" * (LONGEST_FILTER + 1), f"it may have {LONGEST_FILTER:,}"),
        ("a=1 " * (MOST_CONDITIONS + 1), f"it may have {MOST_CONDITIONS}"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(FilterError, match=sentence.replace(".", r"\.")):
        read(text)
