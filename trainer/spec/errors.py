"""What is wrong with a run definition, in plain sentences beside the field that they speak of.

pydantic's errors name Python types and the tags of unions; a person who fills in a form or writes
YAML sees neither.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainer.spec.base import Section, shown, writable
from trainer.spec.fields.section_tree import item, literals, sections

TOO_FEW = "needs more items: at least"


@dataclass(frozen=True, slots=True)
class SpecIssue:
    """One complaint: `path` is dotted ("stages.0.until.steps", empty for the whole), `message`
    follows it as a sentence.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}" if self.path else self.message


class SpecError(ValueError):
    """A run definition that is refused, with every complaint."""

    def __init__(self, issues: Iterable[SpecIssue]) -> None:
        self.issues = tuple(issues)
        super().__init__("\n".join(str(issue) for issue in self.issues))


def translate(error: ValidationError, root: type[Section]) -> list[SpecIssue]:
    """All complaints of pydantic about a `root`, in its order."""
    found = [
        issue for details in error.errors(include_url=False) for issue in _issues(details, root)
    ]
    return [
        issue
        for issue in found
        if not (issue.message.startswith(TOO_FEW) and _complained_inside(issue.path, found))
    ]


def _complained_inside(path: str, found: list[SpecIssue]) -> bool:
    """Whether an item of the list has a complaint of its own: pydantic then also calls the list too
    short.
    """
    return any(issue.path.startswith(path + ".") for issue in found)


def _issues(details: Any, root: type[Section]) -> list[SpecIssue]:
    place = locate(details["loc"], root)
    if details["type"] == "nonsense":
        return [SpecIssue(at, message) for at, message in details["ctx"]["refusals"]]
    return [SpecIssue(place.path, _sentence(details, place))]


@dataclass(frozen=True, slots=True)
class Place:
    """What a location leads to: its dotted path, the section that holds the last key, and the type
    expected there.
    """

    path: str
    owner: type[Section] | None
    annotation: Any

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]


def locate(location: Sequence[str | int], root: type[Section]) -> Place:
    """Follow pydantic's location, which names the alternatives of unions, to the place that a
    person calls by its path.
    """
    path: list[str] = []
    annotation: Any = root
    owner: type[Section] | None = None
    for key in location:
        choices = sections(annotation)
        if isinstance(key, str) and key in choices:
            annotation = choices[key]
            continue
        path.append(writable(str(key))[:80])
        owner, annotation = _step(choices.get(""), annotation, key)
    return Place(".".join(path), owner, annotation)


def _step(
    section: type[Section] | None, annotation: Any, key: str | int
) -> tuple[type[Section] | None, Any]:
    if section is None:
        return None, item(annotation)
    field = section.model_fields.get(str(key))
    return section, field.annotation if field else None


def _sentence(details: Any, place: Place) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    known = place.owner.model_fields if place.owner else {}
    if kind == "extra_forbidden":
        return f"is not a setting here{_nearest(place.key, known)}"
    if kind == "missing":
        return f"is missing: {known[place.key].description}"
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        return _choice(kind, value, place.annotation)
    if kind == "value_error":
        return str(context["error"])
    return _bounds(kind, context, value) or _types(kind, value) or f"is not valid: {details['msg']}"


def _choice(kind: str, value: Any, annotation: Any) -> str:
    words = ", ".join(literals(annotation) or sections(annotation))
    if kind == "union_tag_not_found":
        return f"needs a `kind`: one of {words}"
    if kind == "union_tag_invalid":
        return f"has a `kind` that must be one of {words}; got {shown(value.get('kind'))}"
    return f"must be one of {words}; got {shown(value)}"


def _number(bound: float) -> str:
    return (
        f"{bound:,}"
        if isinstance(bound, int) or (bound.is_integer() and abs(bound) >= 1000)
        else f"{bound:g}"
    )


def _bounds(kind: str, context: Any, value: Any) -> str:
    match kind:
        case "greater_than_equal":
            least = (
                "not be negative" if context["ge"] == 0 else f"be at least {_number(context['ge'])}"
            )
            return f"must {least}, got {shown(value)}"
        case "greater_than":
            return f"must be above {_number(context['gt'])}, got {shown(value)}"
        case "less_than_equal":
            return f"must be at most {_number(context['le'])}, got {shown(value)}"
        case "less_than":
            return f"must be below {_number(context['lt'])}, got {shown(value)}"
        case "string_too_short":
            return (
                "must not be empty"
                if context["min_length"] == 1
                else f"needs at least {context['min_length']} characters"
            )
        case "string_too_long":
            return f"must have at most {context['max_length']} characters, got {len(value)}"
        case "too_short":
            return f"{TOO_FEW} {context['min_length']}"
        case "too_long":
            return f"must have at most {context['max_length']} items"
    return ""


def _types(kind: str, value: Any) -> str:
    if kind.startswith("int"):
        return f"must be a whole number, got {shown(value)}"
    if kind.startswith(("float", "finite")):
        return f"must be a number, got {shown(value)}"
    if kind.startswith("bool"):
        return f"must be true or false, got {shown(value)}"
    if kind.startswith("string"):
        return f"must be text, got {shown(value)}; put it in quotes"
    if kind.startswith("tuple"):
        return f"must be a list, got {shown(value)}"
    if kind.startswith(("model", "dict")):
        return f"must be a group of settings, got {shown(value)}"
    return ""


def _nearest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; the settings here are {', '.join(known)}"
