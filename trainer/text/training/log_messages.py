"""Sentences for the log about a run's pool, teacher answers and evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.spec import RunSpec
from trainer.text.language.chat import turn_end
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import token_texts
from trainer.text.rollouts.answers import truncated_share
from trainer.text.rollouts.questions import Answer
from trainer.text.training.problem_pool import ProblemPool


def describe_pool(pool: ProblemPool, truncated: float) -> str:
    solved, count = int(pool.passed.sum()), len(pool.passed)
    return (
        f"The student solved {solved} of {int(pool.verdicts.sum())} answers to {count} problems; "
        f"{len(pool.kept_problems)} problems are kept, "
        f"{int((~pool.has_rate).sum())} are set aside for want of verdicts, {_percent(truncated)} "
        "of the answers were cut at the length limit."
    )


def describe_teacher_answers(answers: Sequence[Answer]) -> str:
    right = sum(answer.verdict is True for answer in answers)
    return (
        f"The teacher wrote {len(answers)} answers: {right} are right, "
        f"{_percent(truncated_share(answers))} were cut at the length limit."
    )


def explain_all_cut(student: LanguageModel, answers: Sequence[Answer], longest: int) -> str:
    """Return a warning if every answer was cut, with what may be the cause; empty otherwise."""
    if not answers or truncated_share(answers) < 1:
        return ""
    ends = token_texts(student, student.eos_ids)
    sentence = (
        f"All {len(answers):,} answers of the student were cut at the length limit of {longest:,} "
        f"tokens, and count as wrong. It ends answers at {', '.join(ends)}"
    )
    end = turn_end(student)
    if end and end not in ends:
        return (
            f"{sentence}; its chat template ends them with {end}, at which nothing stops. List "
            "this token under eos_token_id in the model's generation_config.json."
        )
    return f"{sentence}. Raise the longest answer, or choose a student that ends its answers."


# Problems without an answer that a sentence names.
MOST_NAMED = 5


def describe_set_aside(reasons: Mapping[str, str], asked: int) -> str:
    """Describe the problems that the teacher did not answer, by their ids."""
    named = "; ".join(
        f"{problem}: {reason}" for problem, reason in list(reasons.items())[:MOST_NAMED]
    )
    more = f" …, and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
    return (
        f"{len(reasons)} of {asked} problems have no answer of the teacher and are not trained on "
        f"in stages that it writes: {named}{more}."
    )


def describe_evaluation(event: Mapping[str, Any], is_cohort: bool = False) -> str:
    """Describe an `evaluation` event in one or two sentences; of a cohort they say so."""
    problems = "problems of the cohort that it trains on" if is_cohort else "held-out problems"
    low, high = map(_percent, event["interval"])
    if event["pass_rate"] == 0:
        sentence = f"The student solves none of the {event['problems']} {problems}"
    else:
        sentence = (
            f"The student solves {_percent(event['pass_rate'])} of the {problems} (95 % "
            f"interval {low} to {high})"
        )
    difference = event["difference"]
    if difference is None:
        return f"{sentence}."
    low, high = map(_points, difference["interval"])
    change = _points(difference["pass_rate"])
    return f"{sentence}. That is {change} points against before ({low} to {high})."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def explain_empty_pool(pool: ProblemPool, spec: RunSpec) -> tuple[str, str]:
    """Return why a run ends without training, and the remedy."""
    measured = int(pool.has_rate.sum())
    never, always = (
        int((pool.rates[pool.has_rate] == 0).sum()),
        int((pool.rates[pool.has_rate] == 1).sum()),
    )
    reason = (
        f"No problem is left to train on: of {len(pool.passed)} problems the student solved "
        f"{never} in none and {always} in all of its "
        f"{pool.k} answers, {len(pool.passed) - measured} have too few verdicts, and "
        f"{spec.pool.weighting.kind} weighting gives all of them "
        "weight 0. Nothing was trained; the measurements stand."
    )
    return reason, _remedy(pool, never, always)


def _remedy(pool: ProblemPool, never: int, always: int) -> str:
    if not np.any(pool.has_rate):
        return (
            "Look at the verifier's verdicts on the rollouts page: it could judge almost no answer."
        )
    if never >= always:
        return (
            "Take easier problems or a student that solves some of them, or weight all problems "
            "alike (uniform), or set a floor."
        )
    return "Take harder problems, or weight all problems alike (uniform), or set a floor."
