"""The answers to one problem beside each other: of runs, of checkpoints, of steps.

The address has one `run`, `kind` and `step` for each column, and the `problem` by its id in the
first column's set. Without a problem the page lists those that all columns have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.base.number_text import percent, points
from webapp.base.read_snapshot import snapshot
from webapp.base.view_marks import slow
from webapp.comparisons import matched_problems
from webapp.comparisons.answer_sources import (
    KINDS,
    MOST_COLUMNS,
    AnswerSource,
    ChosenColumn,
    NoAnswers,
    find_sources,
    kind_of,
    kinds_of,
    neighbour_steps,
)
from webapp.comparisons.matched_problems import MatchedProblem, Matching, SourceProblems
from webapp.comparisons.shown_answers import SourceAnswers, beside_each_other, stored_answers
from webapp.pages.compare.answer_links import address
from webapp.pages.query_numbers import bigint
from webapp.pages.runs.rollouts import shade_legend
from webapp.runs.models import Run

PAGE_SIZE = 40
# Runs that the form offers beside those of the columns: the newest.
MOST_OFFERED = 100
# Characters of an id in an address; those of rollouts are cut to it.
LONGEST_ID = 200


@dataclass(frozen=True)
class Column:
    """A column of the page.

    `message` says why it has no answers. `before` and `after` are links to the page with the
    column's previous and next step, each with that step; `remove` is one without the column.
    """

    chosen: ChosenColumn
    source: AnswerSource | None
    message: str
    remove: str
    run: Run | None = None
    before: tuple[int, str] | None = None
    after: tuple[int, str] | None = None
    matched_by: str = ""
    rate: str = ""
    answers: SourceAnswers | None = None

    @property
    def name(self) -> str:
        return self.run.name if self.run else "No run"

    @property
    def title(self) -> str:
        return self.source.title if self.source else ""


@slow
@permissions.shown_to_guests
@require_safe
def side_by_side(request: HttpRequest) -> HttpResponse:
    """Show the answers to `problem`, or the problems to choose from."""
    chosen = read_columns(request.GET)
    problem = request.GET.get("problem", "").replace("\0", "")[:LONGEST_ID]
    actor = actor_of(request)
    with snapshot():
        runs = _runs_of(actor, chosen)
        if chosen and not runs:
            raise Http404("no run of these exists")
        sources = find_sources(chosen, runs)
        # The first column with answers names the problems.
        filled = [source for source in sources if isinstance(source, AnswerSource)]
        of_sources = matched_problems.problems_of(filled)
        matching = matched_problems.match(filled, of_sources) if filled else None
        rows = matched_problems.common(of_sources, matching) if matching else []
        context = {
            "problem": problem,
            "has_sources": bool(filled),
            "kinds": [(kind, KINDS[kind]) for kind in kinds_of(runs.values())],
            "offered_runs": _offered(actor, runs) if len(chosen) < MOST_COLUMNS else [],
            "most_columns": MOST_COLUMNS,
            "chosen": [(column, runs.get(column.run)) for column in chosen],
            **_columns_and_steps(chosen, sources, of_sources, matching, problem),
        }
        if problem and matching:
            context |= _problem_context(chosen, filled[0], rows, problem, context["columns"])
        elif filled:
            context |= _list_context(request, chosen, filled, rows)
    return render(request, "compare/side_by_side.html", context)


def read_columns(query: QueryDict) -> list[ChosenColumn]:
    """Read the columns of an address; what cannot be used counts as not given."""
    names = [run.replace("\0", "").strip() for run in query.getlist("run")]
    kinds, steps = query.getlist("kind"), query.getlist("step")
    columns = [
        ChosenColumn(
            run,
            kind_of(kinds[index] if index < len(kinds) else ""),
            # As the page writes numbers.
            bigint(steps[index].replace(",", "").strip()) if index < len(steps) else None,
        )
        for index, run in enumerate(names)
        # The last line of the form is for one more column, which may stay empty.
        if run
    ]
    return columns[:MOST_COLUMNS]


def _runs_of(actor: Actor, chosen: Sequence[ChosenColumn]) -> dict[str, Run]:
    """Return the runs that the person may see: a link that shows a comparison shows no answers."""
    ids = {column.run for column in chosen}
    runs = permissions.visible(actor, Run).filter(public_id__in=ids).select_related("team")
    return runs.in_bulk(field_name="public_id")


def _offered(actor: Actor, runs: dict[str, Run]) -> list[tuple[str, str]]:
    """Return (id, name) of runs that can be added: those of the columns, and the newest ones."""
    others = permissions.visible(actor, Run).exclude(public_id__in=list(runs))
    if actor.team is not None:
        others = others.filter(team=actor.team)
    newest = others.order_by("-created_at").values_list("public_id", "name")[:MOST_OFFERED]
    return [*((run.public_id, run.name) for run in runs.values()), *newest]


def _columns_and_steps(
    chosen: Sequence[ChosenColumn],
    sources: Sequence[AnswerSource | NoAnswers],
    of_sources: Sequence[SourceProblems],
    matching: Matching | None,
    problem: str,
) -> dict[str, Any]:
    """Return the columns, and the links that change the step of all of them."""
    columns: list[Column] = []
    # The choice with the step before of every column, and the one with the step after.
    all_before, all_after = list(chosen), list(chosen)
    ids = matching.ids_of(problem) if matching and problem else ()
    place = 0
    for index, (column, source) in enumerate(zip(chosen, sources, strict=True)):
        remove = address([*chosen[:index], *chosen[index + 1 :]], problem)
        if isinstance(source, NoAnswers):
            columns.append(Column(column, None, source.message, remove, source.run))
            continue
        own_id = ids[place] if ids else None
        before, after = neighbour_steps(source.run, source.kind, source.step, source.live, own_id)
        if before is not None:
            all_before[index] = replace(column, step=before)
        if after is not None:
            all_after[index] = replace(column, step=after)
        assert matching is not None
        rate = of_sources[place].rates.get(own_id) if own_id else None
        columns.append(
            Column(
                column,
                source,
                _missing_message(source, own_id, problem),
                remove,
                source.run,
                _step_link(chosen, index, before, problem),
                _step_link(chosen, index, after, problem),
                matching.by[place],
                "" if rate is None else percent(rate),
                stored_answers(source, own_id) if own_id else None,
            )
        )
        place += 1
    return {
        "columns": columns,
        "all_before": address(all_before, problem) if all_before != list(chosen) else "",
        "all_after": address(all_after, problem) if all_after != list(chosen) else "",
        "unmatched": [
            number for number, column in enumerate(columns, 1) if column.matched_by == "nothing"
        ],
        "by_question": [
            number for number, column in enumerate(columns, 1) if column.matched_by == "question"
        ],
    }


def _missing_message(source: AnswerSource, own_id: str | None, problem: str) -> str:
    if not problem or own_id is not None:
        return ""
    where = "step" if source.kind == "train" else "evaluation"
    return f"This problem has no answers stored at this {where}."


def _step_link(
    chosen: Sequence[ChosenColumn], index: int, step: int | None, problem: str
) -> tuple[int, str] | None:
    if step is None:
        return None
    changed = [*chosen[:index], replace(chosen[index], step=step), *chosen[index + 1 :]]
    return step, f"{address(changed, problem)}#column-{index + 1}"


def _problem_context(
    chosen: Sequence[ChosenColumn],
    first: AnswerSource,
    rows: Sequence[MatchedProblem],
    problem: str,
    columns: Sequence[Column],
) -> dict[str, Any]:
    """What the page of a problem shows: its question, its answers, and its neighbours."""
    filled = [column.answers or SourceAnswers((), 0) for column in columns]
    answers = [answer for column in filled for answer in column.answers]
    text = matched_problems.texts_of(first, {problem}).get(problem, {})
    # The files of rollouts have the question too.
    of_rollout = next((answer for answer in answers if answer.question), None)
    names = [row.id for row in rows]
    position = names.index(problem) if problem in names else None
    neighbours = {"previous": "", "next": ""}
    if position is not None:
        if position > 0:
            neighbours["previous"] = address(chosen, names[position - 1])
        if position + 1 < len(names):
            neighbours["next"] = address(chosen, names[position + 1])
    return {
        **neighbours,
        "position": None if position is None else position + 1,
        "row_count": len(rows),
        "all_problems": address(chosen),
        "conversation": text.get("history", []),
        "question": text.get("question") or (of_rollout.question if of_rollout else ""),
        "reference": text.get("answer") or (of_rollout.reference if of_rollout else ""),
        "answer_rows": [list(zip(columns, row, strict=True)) for row in beside_each_other(filled)],
        "shades": shade_legend(),
        "has_scores": any(token.shade is not None for answer in answers for token in answer.tokens),
    }


def _list_context(
    request: HttpRequest,
    chosen: Sequence[ChosenColumn],
    filled: Sequence[AnswerSource],
    rows: Sequence[MatchedProblem],
) -> dict[str, Any]:
    """What the list of problems shows."""
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    texts = matched_problems.texts_of(filled[0], {row.id for row in page})
    query = request.GET.copy()
    query.pop("page", None)
    return {
        "page": page,
        "query": query.urlencode(),
        "rows": [
            (
                row,
                texts.get(row.id, {}),
                address(chosen, row.id),
                [percent(rate) for rate in row.rates],
                points(row.difference).lstrip("+") if len(row.rates) > 1 else "",
            )
            for row in page
        ],
        "filled": filled,
        "unread_count": sum(not row.is_answered for row in rows),
    }
