"""All settings of a definition as a flat list, from which forms and tables are built.

A list of sections is `*` in the path ("stages.*.until.steps"). A choice between sections is a
setting of its own ("pool.weighting.kind"); `when` of a setting says which choice it belongs to.
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
    item_constraints,
    item_type,
    literal_values,
    sections,
    union_members,
)
from trainer.spec.run import RunSpec

BOUNDS = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt", MinLen: "min_length", MaxLen: "max_length"}


@dataclass(frozen=True, slots=True)
class FieldChoice:
    """A value of a choice; `help` is empty if the help of the setting explains it."""

    value: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One setting.

    `type` is one of integer, number, text, boolean, choice, integers (a list) or choices (a list of
    values). `default` is a JSON value; a `required` setting has none. `optional` settings may be
    null. `bounds` has those of ge, gt, le, lt, min_length and max_length that apply (for a list of
    numbers: ge … of each item). `group` has the titles of the sections around the setting. `when`
    has the (path, value) pairs of the choices under which the setting is used.
    """

    path: str
    title: str
    help: str
    type: str
    default: Any = None
    required: bool = False
    optional: bool = False
    bounds: dict[str, float] = field(default_factory=dict)
    choices: tuple[FieldChoice, ...] = ()
    unit: str = ""
    expert: bool = False
    paper: str = ""
    group: tuple[str, ...] = ()
    when: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Position:
    """A position in the tree of sections: what all settings below it have in common."""

    path: str = ""
    group: tuple[str, ...] = ()
    expert: bool = False
    when: tuple[tuple[str, str], ...] = ()

    def below(self, name: str, field: PydanticField, listed: bool) -> _Position:
        return replace(
            self,
            path=f"{self.path}{name}." + ("*." if listed else ""),
            group=(*self.group, field.title or name),
            expert=self.expert or _extra(field, "expert"),
        )


def fields(root: type[Section] = RunSpec) -> list[FieldInfo]:
    """Return all settings of a definition, in its order."""
    return list(_walk(root, None, _Position()))


def _walk(section: type[Section], example: Any, position: _Position) -> Iterator[FieldInfo]:
    for name, declared in section.model_fields.items():
        # `...` stands for no default. A section that is itself a default sets those of its fields.
        default: Any = ...
        if isinstance(example, section):
            default = getattr(example, name)
        elif not declared.is_required():
            default = declared.get_default(call_default_factory=True, validated_data={})
        inner = item_type(declared.annotation)
        kinds = sections(inner if inner is not None else declared.annotation)
        if not kinds:
            yield from _setting(name, declared, default, position)
        elif "" in kinds:
            yield from _walk(kinds[""], default, position.below(name, declared, inner is not None))
        else:
            yield from _alternatives(
                kinds, declared, default, position.below(name, declared, inner is not None)
            )


def _alternatives(
    kinds: dict[str, type[Section]], field: PydanticField, default: Any, position: _Position
) -> Iterator[FieldInfo]:
    choices = tuple(
        FieldChoice(kind, " ".join((section.__doc__ or "").split()))
        for kind, section in kinds.items()
    )
    path = position.path + "kind"
    yield FieldInfo(
        path=path,
        title=field.title or "",
        help=field.description or "",
        type="choice",
        default=getattr(default, "kind", None),
        required=default is ...,
        optional=is_optional(field.annotation),
        choices=choices,
        expert=position.expert,
        paper=_extra(field, "paper"),
        # The choice is the section's own setting, so it is listed beside the section and not in it.
        group=position.group[:-1],
        when=position.when,
    )
    for kind, section in kinds.items():
        alternative = replace(position, when=(*position.when, (path, kind)))
        # Each alternative has the field `kind`, which is listed once, above.
        yield from (info for info in _walk(section, default, alternative) if info.path != path)


def _setting(
    name: str, field: PydanticField, default: Any, position: _Position
) -> Iterator[FieldInfo]:
    inner = item_type(field.annotation)
    values = literal_values(inner if inner is not None else field.annotation)
    json_default = list(default) if isinstance(default, tuple) else default
    constraints = [*field.metadata, *item_constraints(field.annotation)]
    choice_help = _extra(field, "choice_help") or {}
    yield FieldInfo(
        path=position.path + name,
        title=field.title or name,
        help=field.description or "",
        type=_type(field.annotation, values),
        default=None if default is ... else json_default,
        required=default is ...,
        optional=is_optional(field.annotation),
        bounds={
            bound: getattr(mark, bound) for mark in constraints if (bound := BOUNDS.get(type(mark)))
        },
        choices=tuple(FieldChoice(value, choice_help.get(value, "")) for value in values),
        unit=_extra(field, "unit"),
        expert=position.expert or _extra(field, "expert"),
        paper=_extra(field, "paper"),
        group=position.group,
        when=position.when,
    )


def _extra(field: PydanticField, key: str) -> Any:
    extra = field.json_schema_extra
    return extra.get(key, "") if isinstance(extra, dict) else ""


def _type(annotation: Any, values: tuple[str, ...]) -> str:
    inner = item_type(annotation)
    if values:
        return "choices" if inner is not None else "choice"
    names = {bool: "boolean", int: "integer", float: "number", str: "text"}
    members = list(union_members(annotation if inner is None else inner))
    name = next(name for kind, name in names.items() if kind in members)
    return name + "s" if inner is not None else name
