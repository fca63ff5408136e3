"""Every setting of a definition as a flat list with all that a form, a table or a schema says about
it.

A list of sections stands as `*` in the path ("stages.*.until.steps"). A choice between sections is
a setting of its own ("pool.weighting.kind"); the settings of each alternative say in `when` which
choice they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo as PydanticField

from trainer.spec.base import Section
from trainer.spec.fields.section_tree import (
    is_optional,
    item,
    item_constraints,
    literals,
    parts,
    sections,
)
from trainer.spec.run import RunSpec

BOUNDS = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt", MinLen: "min_length", MaxLen: "max_length"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A word that may be chosen; `help` is empty where the setting's own help explains it."""

    value: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One setting.

    `type` is one of integer, number, text, boolean, choice, integers (a list) or choices (a list of
    words). `default` is a JSON value; `required` says that there is none. `optional` settings may
    be null. `bounds` has the keys ge, gt, le, lt, min_length and max_length where they apply (for a
    list of numbers: ge … of each item). `group` holds the titles of the sections around it. `when`
    holds the (path, value) pairs of the choices that make the setting matter.
    """

    path: str
    title: str
    help: str
    type: str
    default: Any = None
    required: bool = False
    optional: bool = False
    bounds: dict[str, float] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    unit: str = ""
    expert: bool = False
    paper: str = ""
    group: tuple[str, ...] = ()
    when: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the tree a walk stands: what all settings below it share."""

    path: str = ""
    group: tuple[str, ...] = ()
    expert: bool = False
    when: tuple[tuple[str, str], ...] = ()

    def below(self, name: str, field: PydanticField, listed: bool) -> _Place:
        path = f"{self.path}{name}." + ("*." if listed else "")
        return replace(
            self,
            path=path,
            group=(*self.group, field.title or name),
            expert=self.expert or _extra(field, "expert"),
        )


def fields(root: type[Section] = RunSpec) -> list[FieldInfo]:
    """Every setting of a definition, in its order."""
    return list(_walk(root, None, _Place()))


def _walk(section: type[Section], example: Any, place: _Place) -> Iterator[FieldInfo]:
    for name, declared in section.model_fields.items():
        default = getattr(example, name) if isinstance(example, section) else _default(declared)
        inner = item(declared.annotation)
        below = sections(inner if inner is not None else declared.annotation)
        if not below:
            yield from _setting(name, declared, default, place)
        elif "" in below:
            yield from _walk(below[""], default, place.below(name, declared, inner is not None))
        else:
            yield from _alternatives(
                below, declared, default, place.below(name, declared, inner is not None)
            )


def _alternatives(
    below: dict[str, type[Section]], field: PydanticField, default: Any, place: _Place
) -> Iterator[FieldInfo]:
    choices = tuple(
        Choice(kind, " ".join((section.__doc__ or "").split())) for kind, section in below.items()
    )
    path = place.path + "kind"
    yield FieldInfo(
        path=path,
        title=field.title or "",
        help=field.description or "",
        type="choice",
        default=getattr(default, "kind", None),
        required=default is ...,
        optional=is_optional(field.annotation),
        choices=choices,
        expert=place.expert,
        paper=_extra(field, "paper"),
        group=place.group[:-1],
        when=place.when,
    )
    for kind, section in below.items():
        chosen = replace(place, when=(*place.when, (path, kind)))
        yield from (info for info in _walk(section, default, chosen) if info.path != path)


def _setting(name: str, field: PydanticField, default: Any, place: _Place) -> Iterator[FieldInfo]:
    inner = item(field.annotation)
    words = literals(inner if inner is not None else field.annotation)
    yield FieldInfo(
        path=place.path + name,
        title=field.title or name,
        help=field.description or "",
        type=_type(field.annotation, words),
        default=list(default)
        if isinstance(default, tuple)
        else None
        if default is ...
        else default,
        required=default is ...,
        optional=is_optional(field.annotation),
        bounds=_bounds(field),
        choices=tuple(Choice(word) for word in words),
        unit=_extra(field, "unit"),
        expert=place.expert or _extra(field, "expert"),
        paper=_extra(field, "paper"),
        group=place.group,
        when=place.when,
    )


def _default(field: PydanticField) -> Any:
    """The default value, `...` if there is none."""
    if field.is_required():
        return ...
    return field.get_default(call_default_factory=True, validated_data={})


def _extra(field: PydanticField, key: str) -> Any:
    extra = field.json_schema_extra
    return extra.get(key, "") if isinstance(extra, dict) else ""


def _type(annotation: Any, words: tuple[str, ...]) -> str:
    inner = item(annotation)
    if words:
        return "choices" if inner is not None else "choice"
    names = {bool: "boolean", int: "integer", float: "number", str: "text"}
    plain = next(
        name
        for kind, name in names.items()
        if kind in parts(annotation if inner is None else inner)
    )
    return plain + "s" if inner is not None else plain


def _bounds(field: PydanticField) -> dict[str, float]:
    constraints = [*field.metadata, *item_constraints(field.annotation)]
    return {name: getattr(mark, name) for mark in constraints if (name := BOUNDS.get(type(mark)))}
