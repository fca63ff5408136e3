"""What an address of the list of runs asks for, and the addresses that ask for a little else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict
from django.utils.http import urlencode

from webapp.pages.query_numbers import bigint
from webapp.pages.runs.finding import filter_language
from webapp.pages.runs.finding.columns import OWN_COLUMNS, Column, chosen_columns
from webapp.pages.runs.finding.filter_language import Term
from webapp.pages.runs.finding.matching import FIELDS
from webapp.pages.runs.finding.ordering import Cursor, Sort, cursor_of, sort_of

# Menus beside the filter: each adds one term to it.
MENUS = ("state", "source", "project")
LONGEST_GROUP = 130


@dataclass(frozen=True)
class ListQuery:
    """`filter` as it was typed, the chosen entry of each menu, and how the runs are shown.

    `group` is the setting by which runs are grouped, empty for single runs. `view` is the primary
    key of the saved view that was opened.
    """

    filter: str
    menus: Mapping[str, str]
    sort: Sort
    columns: Sequence[Column]
    group: str = ""
    after: Cursor | None = None
    view: int | None = None

    def terms(self) -> list[Term]:
        """Return the terms of filter and menus. Raises FilterError.

        An entry that a menu does not have filters nothing.
        """
        chosen = [
            Term(value, name, "=")
            for name, value in self.menus.items()
            if value and (not FIELDS[name].values or value in FIELDS[name].values)
        ]
        return [*filter_language.read(self.filter), *chosen]

    @property
    def is_filtered(self) -> bool:
        return bool(self.filter or any(self.menus.values()) or self.after)

    def with_term(self, term: Term) -> ListQuery:
        """Return the query for single runs that fulfil `term` too."""
        return replace(self, filter=f"{self.filter} {term}".strip(), group="", after=None)

    def sorted_by(self, column: Column) -> ListQuery:
        """Return the query sorted by a column: descending first, then the other way."""
        is_descending = not (self.sort.name == column.sort and self.sort.is_descending)
        return replace(self, sort=Sort(column.sort, is_descending), after=None)

    def behind(self, cursor: Cursor) -> ListQuery:
        return replace(self, after=cursor)

    def first_page(self) -> ListQuery:
        return replace(self, after=None)

    def without_view(self) -> ListQuery:
        return replace(self, view=None)

    def address(self) -> str:
        """Return the query string, without what is not set."""
        names = [column.name for column in self.columns]
        pairs: list[tuple[str, Any]] = [
            ("q", self.filter),
            *self.menus.items(),
            ("sort", "" if self.sort == Sort() else str(self.sort)),
            *(("column", name) for name in names if names != list(OWN_COLUMNS)),
            ("group", self.group),
            ("after", "" if self.after is None else str(self.after)),
            ("view", self.view or ""),
        ]
        return "?" + urlencode([(name, value) for name, value in pairs if value])


def list_query(parameters: QueryDict) -> ListQuery:
    """Read an address; what cannot be read is left out."""
    # Postgres does not accept NUL characters in a query.
    texts = {
        name: parameters.get(name, "").replace("\0", "").strip()
        for name in ("q", *MENUS, "sort", "group", "after", "before", "view")
    }
    after = cursor_of(texts["after"])
    # Addresses of earlier versions name the oldest run of a page.
    if after is None and (oldest := bigint(texts["before"])) is not None:
        after = Cursor("missing", oldest)
    return ListQuery(
        filter=texts["q"],
        menus={name: texts[name] for name in MENUS},
        sort=sort_of(texts["sort"][:LONGEST_GROUP]),
        columns=chosen_columns(name.replace("\0", "") for name in parameters.getlist("column")),
        group=texts["group"][:LONGEST_GROUP],
        after=after,
        view=bigint(texts["view"]),
    )
