"""Validation errors of a definition, as sentences next to the path of the field.

pydantic's errors name Python types and the tags of unions, which a person who fills in a form or
writes YAML does not know.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainer.spec.base import Section, encodable, quoted
from trainer.spec.fields.section_tree import item_type, literal_values, sections

TOO_FEW = "needs more items: at least"


@dataclass(frozen=True, slots=True)
class SpecIssue:
    """A validation error of a definition.

    `path` is dotted ("stages.0.until.steps"; empty for the whole definition). Path and `message`
    together are a sentence.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}" if self.path else self.message


class SpecError(ValueError):
    """A definition is invalid; `issues` has every validation error."""

    def __init__(self, issues: Iterable[SpecIssue]) -> None:
        self.issues = tuple(issues)
        super().__init__("\n".join(str(issue) for issue in self.issues))


def translate(error: ValidationError, root: type[Section]) -> list[SpecIssue]:
    """Return the issues for pydantic's errors about a `root`, in its order."""
    issues: list[SpecIssue] = []
    for details in error.errors(include_url=False):
        # One error of pydantic's holds the refusals of all rules, each with a path of its own.
        if details["type"] == "incompatible_settings":
            issues += [SpecIssue(path, message) for path, message in details["ctx"]["refusals"]]
        else:
            location = locate(details["loc"], root)
            issues.append(SpecIssue(location.path, _sentence(details, location)))
    # pydantic drops invalid items of a list and then also calls the list too short.
    paths = [issue.path for issue in issues]
    return [
        issue
        for issue in issues
        if not issue.message.startswith(TOO_FEW)
        or not any(path.startswith(issue.path + ".") for path in paths)
    ]


@dataclass(frozen=True, slots=True)
class FieldLocation:
    """Where an error is: dotted path, section with the last key, and type expected there."""

    path: str
    owner: type[Section] | None
    annotation: Any

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]


def locate(location: Sequence[str | int], root: type[Section]) -> FieldLocation:
    """Return the field that pydantic's location leads to.

    Unlike paths of fields, pydantic's locations also name the alternatives of unions.
    """
    path: list[str] = []
    annotation: Any = root
    owner: type[Section] | None = None
    for key in location:
        choices = sections(annotation)
        # The tag of a union names the alternative that was chosen; it is no key of the definition.
        if isinstance(key, str) and key in choices:
            annotation = choices[key]
            continue
        # A key is anything that someone wrote, so it is cut and made storable like a value.
        path.append(encodable(str(key))[:80])
        # An optional section is the only choice beside nothing, and pydantic names no tag of it.
        owner = choices.get("") or (next(iter(choices.values())) if len(choices) == 1 else None)
        if owner is None:
            annotation = item_type(annotation)
        else:
            field = owner.model_fields.get(str(key))
            annotation = field.annotation if field else None
    return FieldLocation(".".join(path), owner, annotation)


def _sentence(details: Any, location: FieldLocation) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    fields = location.owner.model_fields if location.owner else {}
    if kind == "extra_forbidden":
        # 0.6 is difflib's own default: a swapped or missing letter is found, another word is not.
        if matches := difflib.get_close_matches(location.key, fields, n=1, cutoff=0.6):
            return f"is not a setting here; did you mean {matches[0]}?"
        return f"is not a setting here; the settings here are {', '.join(fields)}"
    if kind == "missing":
        return f"is missing: {fields[location.key].description}"
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        return _choice(kind, value, location.annotation)
    if kind == "value_error":
        return str(context["error"])
    # pydantic's own message is the last resort, for types of errors that no field has now.
    return _bounds(kind, context, value) or _types(kind, value) or f"is not valid: {details['msg']}"


def _choice(kind: str, value: Any, annotation: Any) -> str:
    choices = ", ".join(literal_values(annotation) or sections(annotation))
    if kind == "union_tag_not_found":
        return f"needs a `kind`: one of {choices}"
    if kind == "union_tag_invalid":
        return f"has a `kind` that must be one of {choices}; got {quoted(value.get('kind'))}"
    return f"must be one of {choices}; got {quoted(value)}"


def _number(bound: float) -> str:
    # `g` would write 1000000 as 1e+06.
    return (
        f"{bound:,}"
        if isinstance(bound, int) or (bound.is_integer() and abs(bound) >= 1000)
        else f"{bound:g}"
    )


def _bounds(kind: str, context: Any, value: Any) -> str:
    match kind:
        case "greater_than_equal":
            bound = (
                "not be negative" if context["ge"] == 0 else f"be at least {_number(context['ge'])}"
            )
            return f"must {bound}, got {quoted(value)}"
        case "greater_than":
            return f"must be above {_number(context['gt'])}, got {quoted(value)}"
        case "less_than_equal":
            return f"must be at most {_number(context['le'])}, got {quoted(value)}"
        case "less_than":
            return f"must be below {_number(context['lt'])}, got {quoted(value)}"
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
    # pydantic has several types of errors for each Python type: int_type, int_parsing,
    # int_from_float.
    if kind.startswith("int"):
        return f"must be a whole number, got {quoted(value)}"
    if kind.startswith(("float", "finite")):
        return f"must be a number, got {quoted(value)}"
    if kind.startswith("bool"):
        return f"must be true or false, got {quoted(value)}"
    if kind.startswith("string"):
        return f"must be text, got {quoted(value)}; put it in quotes"
    if kind.startswith("tuple"):
        return f"must be a list, got {quoted(value)}"
    if kind.startswith(("model", "dict")):
        return f"must be a group of settings, got {quoted(value)}"
    return ""
