"""The vote takes the most common answer to be right, whatever the reference is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.text.problems import Problem
from trainer.text.rollouts.filters.vote import majority, voted
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import Group, Prompt

PROBLEM = Problem("p", "?", "4")


def group(*read: str, cut: frozenset[int] = frozenset()) -> Group:
    answers = [
        Answer(PROBLEM, number, "student", (1,), (2,), number in cut, text, None, text)
        for number, text in enumerate(read)
    ]
    return Group(Prompt(Question(PROBLEM, (1,), "?")), tuple(answers))


def verdicts(*read: str, cut: frozenset[int] = frozenset()) -> list[bool | None]:
    return [answer.verdict for answer in voted(group(*read, cut=cut)).answers]


def test_answers_that_agree_with_the_most_common_one_are_right() -> None:
    assert verdicts("5", "4", "5", "6") == [True, False, True, False]


def test_case_and_white_space_do_not_count() -> None:
    assert verdicts("Two  Cats", "two cats", "x") == [True, True, False]


def test_of_several_most_common_answers_the_first_is_taken() -> None:
    assert verdicts("7", "3", "3", "7", "1") == [True, False, False, True, False]


def test_answers_without_a_vote_stay_in_the_denominator() -> None:
    assert verdicts("", "4", "", "4", "") == [False, True, False, True, False]
    assert voted(group("", "4", "", "4")).verdicts == [False, True, False, True]


def test_cut_answers_have_no_vote_even_if_they_can_be_read() -> None:
    assert verdicts("5", "5", "4", cut=frozenset({0, 1})) == [False, False, True]


def test_without_any_vote_no_answer_is_right() -> None:
    assert verdicts("", "", "") == [False, False, False]


@given(st.lists(st.sampled_from(["", "1", "2", "3"])))
def test_the_label_is_never_rarer_than_another_vote(votes: list[str]) -> None:
    label = majority(votes)
    cast = [vote for vote in votes if vote]
    assert bool(label) == bool(cast)
    assert all(cast.count(label) >= cast.count(vote) for vote in cast)


@given(st.lists(st.sampled_from(["", "1", "2", "3"]), min_size=1))
def test_a_second_vote_on_a_group_changes_nothing(read: list[str]) -> None:
    once = voted(group(*read))
    again = voted(once)
    assert [answer.verdict for answer in again.answers] == [
        answer.verdict for answer in once.answers
    ]
