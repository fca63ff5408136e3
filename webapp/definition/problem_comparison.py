"""The problems that a definition names, read and compared as far as an open form needs it.

These functions run in a child process (`bounded_process`): no Django here, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.spec import ArithmeticProblems, FileProblems, SpecIssue
from trainer.text.problems import ProblemError, ProblemSet, load_source, preview, selection

# A check runs 300 ms after each change of the form, so what it reads must stay small.
LARGEST_FILE = 32 * 2**20
MOST_GENERATED = 20_000
# Domains listed in one message, so that it stays readable.
MOST_LISTED_DOMAINS = 12

ProblemSource = ArithmeticProblems | FileProblems


@dataclass(frozen=True)
class LocatedSource:
    """The problems of a role; built-in ones have no path.

    `changed_ns` is when the file was changed: another question than before.
    """

    role: str
    source: ProblemSource
    path: Path | None = None
    changed_ns: int = 0


@dataclass(frozen=True)
class Question:
    """`held_out_share` is None unless a share of the training problems is held out.

    `domains` are those that each specialist names.
    """

    sources: tuple[LocatedSource, ...]
    held_out_share: float | None
    domains: tuple[tuple[str, ...], ...]


@dataclass
class Answer:
    """By role: how many problems were read, or why they cannot be; neither for large sources.

    `issues` are those of the problems with each other and with the specialists.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    issues: list[SpecIssue] = field(default_factory=list)


def compare(question: Question) -> Answer:
    """Read the sources and compare them."""
    answer = Answer()
    problem_sets: dict[str, ProblemSet] = {}
    for located in question.sources:
        try:
            if problem_set := _read(located):
                problem_sets[located.role] = problem_set
                answer.counts[located.role] = len(problem_set)
        except ProblemError as error:
            answer.problems[located.role] = str(error)
    train = next((located for located in question.sources if located.role == "train"), None)
    if train is not None:
        answer.issues += _check_overlap(train, question.held_out_share, problem_sets)
        answer.issues += _check_specialists(
            train.source, question.domains, problem_sets.get("train")
        )
    return answer


def _read(located: LocatedSource) -> ProblemSet | None:
    """Return the problems of a source; None if they are too many. Raises ProblemError."""
    source, path = located.source, located.path
    if isinstance(source, ArithmeticProblems):
        return load_source(source) if source.count <= MOST_GENERATED else None
    assert path is not None
    if path.is_dir() or path.stat().st_size > LARGEST_FILE:
        # One problem shows whether the columns are right.
        preview(path, source.columns, 1, source.format, source.split)
        return None
    return load_source(source, lambda uri: path)


def _check_specialists(
    source: ProblemSource, named_domains: tuple[tuple[str, ...], ...], train: ProblemSet | None
) -> Iterator[SpecIssue]:
    """Check that each specialist has training problems.

    The domain of a problem of built-in arithmetic is its family.
    """
    items = train.items if train else ()
    domains = (
        set(source.families)
        if isinstance(source, ArithmeticProblems)
        else {problem.domain for problem in items} - {""}
    )
    for index, named in enumerate(named_domains):
        unused = [domain for domain in named if domain not in domains]
        if domains and unused:
            listed = ", ".join(sorted(domains)[:MOST_LISTED_DOMAINS])
            yield SpecIssue(
                f"networks.specialists.{index}.domains",
                f"names {unused[0]}, which no training problem has; they have {listed}",
            )


def _check_overlap(
    located: LocatedSource, held_out_share: float | None, problem_sets: Mapping[str, ProblemSet]
) -> Iterator[SpecIssue]:
    """Check that no problem is trained on and measured, and that a split leaves some of each."""
    train = problem_sets.get("train")
    if train is None:
        return
    if held_out_share is not None and not all(
        selection.split(train.items, held_out_share, located.source.seed)
    ):
        yield SpecIssue(
            "data.evaluation.share",
            "leaves nothing to train on or nothing to measure, "
            f"of {len(train):,} problems; change it",
        )
    for role, adjective in (("evaluation", "held-out"), ("retained", "retained")):
        try:
            items = problem_sets[role].items if role in problem_sets else ()
            selection.check_disjoint(train.items, items, adjective)
        except ProblemError as error:
            yield SpecIssue(f"data.{role}", str(error))
