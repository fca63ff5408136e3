"""What the server finds of the problems that a definition names while its form is open.

The worker reads larger files, and checks everything again before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from trainer.spec import (
    ArithmeticProblems,
    Columns,
    FileProblems,
    RunSpec,
    SpecIssue,
    SplitProblems,
)
from webapp.access.models import Team
from webapp.definition import problem_comparison
from webapp.definition.problem_comparison import Answer, LocatedSource, ProblemSource, Question
from webapp.library import bounded_process, locations
from webapp.library.bounded_process import NotRead
from webapp.library.locations import LocationError

ROLES = ("train", "evaluation", "retained")
# A form waits for it; what takes longer is left to the run.
SECONDS = 10.0


@dataclass
class ProblemReport:
    """`counts` are numbers of problems by role, None where nobody knows them yet.

    `is_complete`: all problems were compared with each other.
    """

    issues: list[SpecIssue] = field(default_factory=list)
    counts: dict[str, int | None] = field(default_factory=dict)
    is_complete: bool = True


def check(spec: RunSpec, team: Team) -> ProblemReport:
    """Check the problems with each other and with the specialists that learn from them."""
    report = ProblemReport()
    located: list[LocatedSource] = []
    sources = dict(_sources(spec))
    for role, source in sources.items():
        try:
            located += _located(role, source, team)
        except LocationError as error:
            report.issues.append(_unusable(role, source, str(error)))
    evaluation = spec.data.evaluation
    question = Question(
        tuple(located),
        evaluation.share if isinstance(evaluation, SplitProblems) else None,
        tuple(tuple(specialist.domains) for specialist in spec.networks.specialists),
    )
    answer = _answer(question, team)
    for role, problem in answer.problems.items():
        report.issues.append(_unusable(role, sources[role], _named(problem, role, located, team)))
    unusable = {issue.path.split(".")[1] for issue in report.issues}
    for role in sources.keys() - unusable:
        # Without the problems the estimate still needs their number, which a row may know.
        report.counts[role] = answer.counts.get(role, _known_count(sources[role], team))
    report.issues += answer.issues
    report.is_complete = answer.counts.keys() == sources.keys()
    return report


def _sources(spec: RunSpec) -> Iterator[tuple[str, ProblemSource]]:
    for role in ROLES:
        source = getattr(spec.data, role)
        if isinstance(source, ArithmeticProblems | FileProblems):
            yield role, source


def _located(role: str, source: ProblemSource, team: Team) -> Iterator[LocatedSource]:
    """Yield the source, unless only the worker can read it. Raises LocationError."""
    if isinstance(source, ArithmeticProblems):
        yield LocatedSource(role, source)
    elif path := locations.data_path(source.path, team):
        yield LocatedSource(role, source, path, path.stat().st_mtime_ns)


def _answer(question: Question, team: Team) -> Answer:
    try:
        return _compared(question, team.pk)
    except NotRead:
        return Answer()


# A check follows each change of the form, and few of them change the problems.
@lru_cache(maxsize=32)
def _compared(question: Question, team_id: int) -> Answer:
    """Raises NotRead."""
    answer: Answer = bounded_process.for_page(
        team_id, problem_comparison.compare, question, seconds=SECONDS
    )
    return answer


def _unusable(role: str, source: ProblemSource, problem: str) -> SpecIssue:
    setting = "path" if isinstance(source, FileProblems) else "count"
    return SpecIssue(f"data.{role}.{setting}", problem)


def _named(problem: str, role: str, located: list[LocatedSource], team: Team) -> str:
    """Return the sentence with the name of an uploaded file, which is stored under its hash."""
    source, path = next((row.source, row.path) for row in located if row.role == role)
    if path is None or not isinstance(source, FileProblems):
        return problem
    data_set = locations.data_set(source.path, team)
    return problem.replace(path.name, data_set.filename if data_set else path.name)


def _known_count(source: ProblemSource, team: Team) -> int | None:
    """Return the number of problems before limits, if it is known without reading the source."""
    if isinstance(source, ArithmeticProblems):
        return source.count
    data_set = locations.data_set(source.path, team)
    if data_set is None or source.columns != Columns(**data_set.columns):
        return None
    return data_set.problem_count
