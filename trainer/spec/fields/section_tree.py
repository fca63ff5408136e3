"""The tree of sections behind a run definition, read from the types: which sections a field may
hold, and where a key leads.

The error messages and the list of fields both walk it.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal

from trainer.spec.base import Section


def sections(annotation: Any) -> dict[str, type[Section]]:
    """Sections that a field of this type may hold, by their `kind`; a section without alternatives
    has the kind ''.
    """
    found = [
        part for part in parts(annotation) if isinstance(part, type) and issubclass(part, Section)
    ]
    if len(found) == 1 and not _is_alternative(found[0], annotation):
        return {"": found[0]}
    return {kind_of(section): section for section in found}


def item(annotation: Any) -> Any:
    """Type of the items of a list field; None for any other field."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is tuple else None


def item_constraints(annotation: Any) -> tuple[Any, ...]:
    """What pydantic checks of each item of a list field beyond its type: marks such as Ge(1)."""
    marks = getattr(item(annotation), "__metadata__", ())
    return tuple(part for mark in marks for part in getattr(mark, "metadata", [mark]))


def literals(annotation: Any) -> tuple[str, ...]:
    """Words that a field of this type may hold; empty if it is not a choice."""
    found = [part for part in parts(annotation) if typing.get_origin(part) is Literal]
    return tuple(str(word) for part in found for word in typing.get_args(part))


def is_optional(annotation: Any) -> bool:
    return type(None) in parts(annotation)


def kind_of(section: type[Section]) -> str:
    return str(section.model_fields["kind"].default)


def _is_alternative(section: type[Section], annotation: Any) -> bool:
    return len(list(parts(annotation))) > 1 and "kind" in section.model_fields


def parts(annotation: Any) -> typing.Iterator[Any]:
    """Members of a union, unwrapped; a type that is no union is its only member."""
    if typing.get_origin(annotation) is Annotated:
        yield from parts(typing.get_args(annotation)[0])
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for part in typing.get_args(annotation):
            yield from parts(part)
    else:
        yield annotation
