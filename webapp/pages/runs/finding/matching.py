"""Which runs a filter matches: its terms as conditions of the database.

A condition on a figure or a setting holds for runs that have the key; its negation for all others.
"""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.access.models import Membership
from webapp.clients.models import Origin, Project
from webapp.clients.runs import IS_ARCHIVED, IS_NOT_ARCHIVED
from webapp.pages.runs.finding.filter_language import FilterError, Term
from webapp.pages.runs.finding.ordering import numbers_and_texts, without_value
from webapp.runs import search_words, status_text
from webapp.runs.models import ACTIVE, Run, RunIndex, RunValue, State
from webapp.runs.run_values import stored_value
from webapp.runs.value_keys import existing_keys, keys_of

# Words that are searched.
MOST_WORDS = 8
# Runs that are looked up one by one where a word or a condition on a value leaves no more.
FEW = 1000
SILENT, ARCHIVED = "silent", "archived"
STATES = (*State.values, SILENT, ARCHIVED)
LOOKUPS: Mapping[str, str] = {
    ":": "exact",
    "=": "exact",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
}
EQUAL = (":", "=", "!=")
# Pass rates and other shares are stored as 0.4 and shown as 40 %.
PERCENT = re.compile(r"([+-]?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15}))%", re.ASCII)
NEAREST = 4
# Names that are compared closely, and unknown names for which that is done: comparing two names of
# a hundred characters takes milliseconds.
COMPARED, HINTS = 20, 3
LONGEST_COMPARED = 130


@dataclass(frozen=True)
class Field:
    """A name of the language that is no figure and no setting; `values` are its only values."""

    help: str
    condition: Callable[[str], Q]
    values: Sequence[str] = ()


def _state(value: str) -> Q:
    if value == ARCHIVED:
        return IS_ARCHIVED
    if value == SILENT:
        return Q(
            state__in=ACTIVE,
            source=Run.Source.CLIENT,
            last_event_at__lt=Now() - status_text.CLIENT_SILENCE,
        )
    return Q(state=value)


FIELDS: Mapping[str, Field] = {
    "state": Field("the run's state", _state, STATES),
    "source": Field("where it comes from", lambda value: Q(source=value), Run.Source.values),
    "recipe": Field("its recipe", lambda value: Q(recipe=value.lower())),
    "tag": Field("one of its tags", lambda value: Q(tags__contains=[value])),
    "owner": Field(
        "part of its owner's name or address",
        lambda value: Q(owner__name__icontains=value) | Q(owner__email__icontains=value),
    ),
    "name": Field("part of its name", lambda value: Q(name__icontains=value)),
    "pinned": Field("whether it is pinned", lambda value: Q(pinned=value == "yes"), ("yes", "no")),
    "project": Field("its client's project", lambda value: Q(origin__project__name=value)),
}
# Names with signs of their own.
HAS, CREATED = "has", "created"
KNOWN_FIELDS = (*FIELDS, HAS, CREATED)


@dataclass(frozen=True)
class _Named:
    """Owners and projects of the team with a word of the filter: primary key, names in lower case.

    They are looked up first: mostly there is none, and words alone tell which runs match.
    """

    owners: Sequence[tuple[int, str]]
    projects: Sequence[tuple[int, str]]


def words_of(terms: Sequence[Term]) -> list[Term]:
    """Return the different words of a filter, in their order."""
    return list(dict.fromkeys(term for term in terms if term.is_word))


def matching(actor: Actor, runs: QuerySet[Run], terms: Sequence[Term]) -> QuerySet[Run]:
    """Return those of `runs`, of the actor's team, for which all terms hold.

    Of many words the first MOST_WORDS count. Archived runs are left out unless they
    are asked for. Raises FilterError.
    """
    _require_keys(actor, terms)
    if not any(term.name == "state" and term.value == ARCHIVED for term in terms):
        runs = runs.filter(IS_NOT_ARCHIVED)
    conditions = [term for term in terms if not term.is_word]
    words = words_of(terms)[:MOST_WORDS]
    named = _named_by(actor, words)
    for term in [*conditions, *words]:
        if term.name == HAS and term.is_negated:
            runs = _without(actor, runs, _key_of(term))
            continue
        condition = _has_word(actor, term.value, named) if term.is_word else _condition(actor, term)
        if term.is_negated != (term.sign == "!=" and term.name in FIELDS):
            condition = (
                # Not by ~Q, for which a comparison with a missing value is neither true nor false.
                Q(~Exists(permissions.visible(actor, Run).filter(condition, pk=OuterRef("pk"))))
                if term.is_word or term.name in FIELDS
                # Values that exist or not.
                else ~condition
            )
        runs = runs.filter(condition)
    return runs


def unknown_keys(actor: Actor, keys: Sequence[str]) -> dict[str, str]:
    """Return a sentence for each of `keys` that no run of the actor's team has."""
    if actor.team is None:
        return {}
    existing = existing_keys(actor.team.pk, keys)
    unknown = [key for key in keys if key not in existing]
    names = keys_of(actor.team.pk) if unknown else []
    return {
        key: f"No run has a figure or setting “{key[:60]}”."
        f"{_nearest(key, names) if index < HINTS else ''}"
        for index, key in enumerate(unknown)
    }


def _require_keys(actor: Actor, terms: Sequence[Term]) -> None:
    """Raise FilterError if a condition is on a key that no run of the team has."""
    keys = {
        term.value if term.name == HAS else term.name: term
        for term in terms
        if not term.is_word and term.name not in (*FIELDS, CREATED)
    }
    for key, sentence in unknown_keys(actor, list(keys)).items():
        raise FilterError(
            f"{sentence} The filter asks for it at character {keys[key].position}. Besides figures "
            f"and settings it knows {', '.join(KNOWN_FIELDS)}."
        )


def _condition(actor: Actor, term: Term) -> Q:
    """Return the condition of a term without its negation. Raises FilterError."""
    if term.name in FIELDS:
        return _field_condition(term)
    if term.name == CREATED:
        return _created(term)
    if term.name == HAS:
        return _has_value(actor, _key_of(term))
    return _compared(actor, term)


def _key_of(term: Term) -> str:
    _require_sign(term, (":", "="))
    return term.value


def _has_word(actor: Actor, text: str, named: _Named) -> Q:
    """Return the condition that a run, its owner or its project has the text."""
    with_words = permissions.visible(actor, RunIndex).filter(
        team=actor.team, words__match=search_words.query(text)
    )
    condition = _few(with_words) or Q(search_index__words__match=search_words.query(text))
    if not search_words.is_exact(text):
        in_texts = [(f"{name}__icontains", text) for name in search_words.FIELDS]
        in_settings = ("search_index__text__contains", text.lower())
        condition &= Q(*in_texts, in_settings, _connector=Q.OR)
    if owners := _keys_with(text, named.owners):
        condition |= Q(owner__in=owners)
    if projects := _keys_with(text, named.projects):
        origins = permissions.visible(actor, Origin).filter(project__in=projects)
        condition |= Q(pk__in=origins.values("run"))
    return condition


def _named_by(actor: Actor, terms: Sequence[Term]) -> _Named:
    texts = [term.value for term in terms]
    if not texts:
        return _Named((), ())
    members = permissions.visible(actor, Membership).filter(
        _any_contains(("user__name", "user__email"), texts), team=actor.team
    )
    projects = permissions.visible(actor, Project).filter(
        _any_contains(("name",), texts), team=actor.team
    )
    return _Named(
        [
            (user, f"{name}\n{email}".lower())
            for user, name, email in members.values_list("user", "user__name", "user__email")
        ],
        [(project, name.lower()) for project, name in projects.values_list("pk", "name")],
    )


def _any_contains(fields: Sequence[str], texts: Sequence[str]) -> Q:
    lookups = [(f"{field}__icontains", text) for field in fields for text in texts]
    return Q(*lookups, _connector=Q.OR)


def _keys_with(text: str, named: Sequence[tuple[int, str]]) -> list[int]:
    return [key for key, name in named if text.lower() in name]


def _field_condition(term: Term) -> Q:
    field = FIELDS[term.name]
    _require_sign(term, EQUAL)
    if field.values and term.value not in field.values:
        raise FilterError(
            f"“{term.value[:60]}” at character {term.position} is no {term.name}."
            f"{_nearest(term.value, field.values)} Known are {', '.join(field.values)}."
        )
    return field.condition(term.value)


def _created(term: Term) -> Q:
    _require_sign(term, tuple(LOOKUPS))
    try:
        day = datetime.combine(date.fromisoformat(term.value), datetime.min.time(), UTC)
        next_day = day + timedelta(days=1)
    except (ValueError, OverflowError):
        raise FilterError(
            f"“{term.value[:60]}” at character {term.position} is no day: write it as 2026-11-30."
        ) from None
    match term.sign:
        case ">":
            return Q(created_at__gte=next_day)
        case ">=":
            return Q(created_at__gte=day)
        case "<":
            return Q(created_at__lt=day)
        case "<=":
            return Q(created_at__lt=next_day)
    return Q(created_at__gte=day, created_at__lt=next_day)


def _compared(actor: Actor, term: Term) -> Q:
    number, text = stored_value(term.value)
    is_equal = Q(number=number) if text is None else Q(text=text)
    if percent := PERCENT.fullmatch(term.value):
        number = float(percent[1]) / 100
        is_equal |= Q(number=number)
    if term.sign == "!=":
        return _has_value(actor, term.name, ~is_equal)
    if number is None and term.sign not in EQUAL:
        raise FilterError(
            f"“{term.value[:60]}” at character {term.position} is no number: {term.sign} compares "
            "numbers, such as 0.6, 60% or 1e-4."
        )
    if term.sign in EQUAL:
        return _has_value(actor, term.name, is_equal)
    return _has_value(actor, term.name, Q(**{f"number__{LOOKUPS[term.sign]}": number}))


def _has_value(actor: Actor, key: str, condition: Q | None = None) -> Q:
    values = permissions.visible(actor, RunValue).filter(condition or Q(), team=actor.team, key=key)
    return _few(values) or Q(Exists(values.filter(run=OuterRef("pk"))))


def _few(rows: QuerySet[RunIndex] | QuerySet[RunValue]) -> Q | None:
    """Return the condition that a run is one of these rows' runs; None if there are more than FEW.

    Postgres does not know how many runs a rare word or a limit of one figure leaves, and walks
    the whole list of runs where it expects more.
    """
    keys = list(rows.values_list("run_id", flat=True)[: FEW + 1])
    return Q(pk__in=keys) if len(keys) <= FEW else None


def _without(actor: Actor, runs: QuerySet[Run], key: str) -> QuerySet[Run]:
    """Return those of `runs` without a value under `key`.

    Mostly every run has it, or hardly any. The few that lack it are found as a difference of sets,
    which takes the same time whatever it leaves; a search among the runs stops at a page of them,
    and walks the whole list where there are fewer.
    """
    values = (rows.values("run") for rows in numbers_and_texts(actor, key))
    lacking = runs.values("pk").difference(*values)
    keys = [row["pk"] for row in lacking[: FEW + 1]]
    return runs.filter(pk__in=keys) if len(keys) <= FEW else without_value(actor, runs, key)


def _require_sign(term: Term, signs: Sequence[str]) -> None:
    if term.sign not in signs:
        raise FilterError(
            f"{term.name} is compared by {' or '.join(signs)}, not by {term.sign} "
            f"(character {term.position})."
        )


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return a sentence with the names that are spelled most alike; empty if none is."""
    name = name[:LONGEST_COMPARED]
    within = [other for other in names if name.lower() in other.lower()]
    compared = heapq.nlargest(COMPARED, names, partial(_likeness, _pairs(name)))
    nearest = dict.fromkeys([*difflib.get_close_matches(name, compared, NEAREST, 0.5), *within])
    return f" Nearest: {', '.join(list(nearest)[:NEAREST])}." if nearest else ""


def _likeness(pairs: Set[str], name: str) -> float:
    """Return the share of `pairs` and those of a name that is in both (Dice's coefficient)."""
    others = _pairs(name)
    return 2 * len(pairs & others) / (len(pairs) + len(others))


def _pairs(name: str) -> set[str]:
    """Return the pairs of neighbouring characters, and the last character."""
    return {name[index : index + 2] for index in range(len(name))}
