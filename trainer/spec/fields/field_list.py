"""All settings of a definition as a flat list, from which forms and tables are built.

A list of sections is `*` in the path ("stages.*.until.steps"). A choice between sections is a
setting of its own ("pool.weighting.kind"); `when` of a setting says which choice it belongs to,
`conditions` which other settings it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo as PydanticField

from trainer.spec.base import Location, Section
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
class Heading:
    """A group of the form's page. `key` is the path of its section or of its first field."""

    # Fields that share a heading declare it one by one, each at its own path.
    key: str = field(compare=False)
    title: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One setting.

    `type` is one of integer, number, text, boolean, choice, integers (a list) or choices (a list of
    values). `default` is a JSON value; a `required` setting has none. `optional` settings may be
    null. `bounds` has those of ge, gt, le, lt, min_length and max_length that apply (for a list of
    numbers: ge … of each item). `group` has the titles of the sections around the setting. `when`
    has the (path, value) pairs of the choices under which the setting is used. `conditions` has
    (path, values) of the other settings on which it depends. `location` is model, data, endpoint or
    empty. `heading` and `subheading` are those under which the form shows it, if any.
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
    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    location: str = ""
    multiline: bool = False
    provenance: bool = False
    heading: Heading | None = None
    subheading: str = ""


@dataclass(frozen=True, slots=True)
class _Position:
    """A position in the tree of sections: what all settings below it have in common."""

    path: str = ""
    group: tuple[str, ...] = ()
    expert: bool = False
    when: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    heading: Heading | None = None
    subheading: str = ""
    # (path, section) of the sections around, the outermost first.
    sections: tuple[tuple[str, type[Section]], ...] = ()

    def at(self, name: str, field: PydanticField) -> _Position:
        """Return the position with what the declaration of this field says of the form."""
        heading = _extra(field, "heading")
        texts = (field.title or name, field.description or "") if heading is True else heading
        own_conditions = tuple(_conditions(field, self.sections).items())
        return replace(
            self,
            expert=self.expert or _extra(field, "expert"),
            conditions=(*self.conditions, *own_conditions),
            heading=Heading(f"{self.path}{name}", *texts) if texts else self.heading,
            subheading=field.title or name if _extra(field, "subheading") else self.subheading,
        )

    def below(self, name: str, field: PydanticField, listed: bool) -> _Position:
        return replace(
            self.at(name, field),
            path=f"{self.path}{name}." + ("*." if listed else ""),
            group=(*self.group, field.title or name),
        )


def fields(root: type[Section] = RunSpec) -> list[FieldInfo]:
    """Return all settings of a definition, in its order."""
    return list(_walk(root, None, _Position()))


def _walk(section: type[Section], example: Any, position: _Position) -> Iterator[FieldInfo]:
    position = replace(position, sections=(*position.sections, (position.path, section)))
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
            yield _setting(name, declared, default, position.at(name, declared))
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
        conditions=position.conditions,
        heading=position.heading,
        subheading=position.subheading,
    )
    for kind, section in kinds.items():
        alternative = replace(position, when=(*position.when, (path, kind)))
        # Each alternative has the field `kind`, which is listed once, above.
        yield from (info for info in _walk(section, default, alternative) if info.path != path)


def _setting(name: str, field: PydanticField, default: Any, position: _Position) -> FieldInfo:
    inner = item_type(field.annotation)
    values = literal_values(inner if inner is not None else field.annotation)
    json_default = list(default) if isinstance(default, tuple) else default
    constraints = [*field.metadata, *item_constraints(field.annotation)]
    choice_help = _extra(field, "choice_help") or {}
    return FieldInfo(
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
        expert=position.expert,
        paper=_extra(field, "paper"),
        group=position.group,
        when=position.when,
        conditions=position.conditions,
        location=next((mark.of for mark in constraints if isinstance(mark, Location)), ""),
        multiline=bool(_extra(field, "multiline")),
        provenance=bool(_extra(field, "provenance")),
        heading=position.heading,
        subheading=position.subheading,
    )


def _conditions(
    field: PydanticField, around: tuple[tuple[str, type[Section]], ...]
) -> dict[str, tuple[str, ...]]:
    """Return `when` of a field by path, with the conditions of the settings that it names.

    `around` has the sections around it. Raises LookupError if none has a setting of a name.
    """
    conditions: dict[str, tuple[str, ...]] = {}
    for name, values in dict(_extra(field, "when")).items():
        depth = len(around)
        while depth and name not in around[depth - 1][1].model_fields:
            depth -= 1
        if not depth:
            raise LookupError(f"`when` names {name}, which no section around the field has")
        path, section = around[depth - 1]
        conditions |= _conditions(section.model_fields[name], around[:depth])
        conditions[path + name] = tuple(values)
    return conditions


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
