"""The sections that a field of a definition may hold, read from its type annotation.

Error messages and the list of fields use it.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal

from trainer.spec.base import Section


def sections(annotation: Any) -> dict[str, type[Section]]:
    """Return the sections that a field of this type may hold, by their `kind`.

    A section without alternatives has the kind ''.
    """
    members = list(union_members(annotation))
    classes = [cls for cls in members if isinstance(cls, type) and issubclass(cls, Section)]
    # An optional section with a `kind` is still a choice: that kind, or nothing.
    if len(classes) == 1 and not (len(members) > 1 and "kind" in classes[0].model_fields):
        return {"": classes[0]}
    return {str(cls.model_fields["kind"].default): cls for cls in classes}


def item_type(annotation: Any) -> Any:
    """Return the type of the items of a list field; None for any other field."""
    # Lists are tuples in a definition, because its values are immutable.
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is tuple else None


def item_constraints(annotation: Any) -> tuple[Any, ...]:
    """Return pydantic's constraints of each item of a list field, such as Ge(1)."""
    # pydantic's Field(ge=1) keeps Ge(1) in its own `metadata`; a plain Ge(1) has none.
    metadata = getattr(item_type(annotation), "__metadata__", ())
    return tuple(mark for field in metadata for mark in getattr(field, "metadata", [field]))


def literal_values(annotation: Any) -> tuple[str, ...]:
    """Return the values that a field of this type may hold; empty if it is not a choice."""
    members = [item for item in union_members(annotation) if typing.get_origin(item) is Literal]
    return tuple(str(value) for literal in members for value in typing.get_args(literal))


def is_optional(annotation: Any) -> bool:
    return type(None) in union_members(annotation)


def union_members(annotation: Any) -> typing.Iterator[Any]:
    """Yield the members of a union without Annotated; another type is its own only member."""
    if typing.get_origin(annotation) is Annotated:
        yield from union_members(typing.get_args(annotation)[0])
    # `A | B` of classes has the first form; with Annotated or Literal members it has the second.
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for member in typing.get_args(annotation):
            yield from union_members(member)
    else:
        yield annotation
