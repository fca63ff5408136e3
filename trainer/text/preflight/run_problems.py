"""The problems of a run, all of them, and the sample that is encoded and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.spec import FileProblems, RunSpec
from trainer.text.preflight.reporter import Reporter
from trainer.text.problems import Problem, ProblemError, load_all, load_source, locate
from trainer.text.problems.selection import excerpt

ADJECTIVES = {"train": "training", "evaluation": "held-out", "retained": "retained"}
# Problems with the longest questions that every sample has.
LONGEST = 5


@dataclass(frozen=True)
class RoleProblems:
    """The problems of one role, and the indices of those that are looked at, in order."""

    role: str
    items: tuple[Problem, ...]
    sampled: tuple[int, ...]

    @property
    def path(self) -> str:
        return f"data.{self.role}"

    @property
    def adjective(self) -> str:
        return ADJECTIVES[self.role]

    @property
    def all_noun(self) -> str:
        """“2,000 training problems”."""
        return f"{len(self.items):,} {self.adjective} problems"

    @property
    def sample_noun(self) -> str:
        """“200 sampled training problems”, or all of them where all are looked at."""
        if len(self.sampled) == len(self.items):
            return self.all_noun
        return f"{len(self.sampled):,} sampled {self.adjective} problems"

    @property
    def sample(self) -> list[Problem]:
        return [self.items[index] for index in self.sampled]

    def named(self, index: int) -> str:
        """“problem 3 (“What is …”)”; problems count from 1 in the order of their role."""
        return f"problem {index + 1:,} ({excerpt(self.items[index].question, 40)})"


def read_problems(spec: RunSpec, sample: int, reporter: Reporter) -> list[RoleProblems]:
    """Return the problems by role; none if they cannot be read, which is reported."""
    reporter.phase("reading the problems")
    if remote := _not_here(spec):
        role, path = remote
        reporter.fact(
            "not_checked",
            f"data.{role}.path",
            f"The problems were not checked, because {path} is not on this machine; the run "
            "downloads and checks them before its first step.",
        )
        return []
    try:
        problem_sets = load_all(spec.data)
    except ProblemError as error:
        reporter.error("data", _role_path(spec, str(error)), error)
        return []
    except Exception as error:
        reporter.error("data", "data.train", error)
        return []
    roles = []
    for role in ADJECTIVES:
        if problem_set := getattr(problem_sets, role):
            roles.append(RoleProblems(role, problem_set.items, _sampled(problem_set.items, sample)))
            for note in problem_set.notes:
                reporter.fact("data", f"data.{role}", f"{note[:1].upper()}{note[1:].rstrip('.')}.")
    return roles


def _not_here(spec: RunSpec) -> tuple[str, str] | None:
    """The role and location of problems of the hub that this machine does not have."""
    for role in ADJECTIVES:
        source = getattr(spec.data, role)
        if isinstance(source, FileProblems) and source.path.startswith("hub:"):
            try:
                locate(source.path)
            except ProblemError:
                return role, source.path
    return None


def _role_path(spec: RunSpec, message: str) -> str:
    """The source that has this error by itself; else the problems are wrong together."""
    for role in ADJECTIVES:
        source: Any = getattr(spec.data, role)
        if source is None or source.kind in ("split", "cohort"):
            continue
        try:
            load_source(source)
        except ProblemError as error:
            if str(error) == message:
                return f"data.{role}"
    return "data.evaluation"


def _sampled(problems: Sequence[Problem], count: int) -> tuple[int, ...]:
    """The indices of `count` problems, evenly spaced, and of those with the longest questions."""
    spaced = {index * len(problems) // count for index in range(min(count, len(problems)))}
    if count >= len(problems):
        spaced = set(range(len(problems)))
    longest = sorted(range(len(problems)), key=lambda index: -_length(problems[index]))[:LONGEST]
    return tuple(sorted(spaced | set(longest)))


def _length(problem: Problem) -> int:
    return len(problem.question) + sum(len(message.text) for message in problem.history)
