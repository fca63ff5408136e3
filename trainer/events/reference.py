"""The reference of the event log: `python -m trainer events --markdown > docs/events.md`.

The prose is in `page.md` beside this module, the tables come from the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.events.event_types import EVENT_TYPES
from trainer.events.values import EventHead, Recorded

PAGE = Path(__file__).with_name("page.md")
HEADER = "| field | type | meaning |\n|---|---|---|\n"
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def markdown() -> str:
    """Return the whole page."""
    return PAGE.read_text(encoding="utf-8").replace(
        "{types}", "\n".join(_section(name, event) for name, event in EVENT_TYPES.items())
    )


def _section(name: str, event: type[EventHead]) -> str:
    paragraphs = "\n\n".join(
        " ".join(paragraph.split()) for paragraph in (event.__doc__ or "").split("\n\n")
    )
    # The head is described once; the step belongs to it, but not every type has one.
    rows = [
        _row(path, field)
        for path, field in fields(event)
        if path not in ("type", "wall_time") and (path != "step" or field.description)
    ]
    return f"### `{name}`\n\n{paragraphs}\n\n{HEADER}{''.join(rows)}"


def fields(declaration: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield each field of a declaration by its path, those of nested objects after them."""
    for name, field in declaration.model_fields.items():
        yield prefix + name, field
        nested, in_list = _nested(field.annotation)
        if nested is not None:
            yield from fields(nested, f"{prefix}{name}.{'*.' if in_list else ''}")


def recorded_type(field: FieldInfo) -> Any:
    """Return the type of a field that is stored as it is; None for all others."""
    return next((item.type for item in field.metadata if isinstance(item, Recorded)), None)


def _nested(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the declaration that is nested in a type, and whether it is in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in get_args(annotation):
        nested, in_list = _nested(argument)
        if nested is not None:
            return nested, in_list or get_origin(annotation) is list
    return None, False


def _row(path: str, field: FieldInfo) -> str:
    kind = recorded_type(field) or field.annotation
    mark = "" if field.is_required() else " ○"
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{path}`{mark} | {_type_text(kind)} | {meaning} |\n"


def _type_text(kind: Any) -> str:
    """Return a type in words: `list[int] | None` → "list of whole numbers or null"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin in (Union, UnionType):
        text = " or ".join(_type_text(item) for item in arguments if item is not NoneType)
        comma = "," if " or " in text else ""
        return f"{text}{comma} or null" if NoneType in arguments else text
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_plural(_type_text(arguments[0]))}"
    if origin is tuple:
        return f"pair of {_plural(_type_text(arguments[0]))}"
    if origin is dict:
        return f"mapping to {_plural(_type_text(arguments[1]))}"
    return NAMES.get(kind, "object")


def _plural(text: str) -> str:
    """Return the type of several values: "pair of numbers" → "pairs of numbers"."""
    for noun in ("number", "object", "list", "pair"):
        # Only the first noun: what a list consists of is in the plural already.
        if noun in text.split(" of ")[0]:
            return text.replace(noun, f"{noun}s", 1)
    return text
