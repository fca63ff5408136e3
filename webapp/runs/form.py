"""What a browser sends and what a run definition is, as two forms of the same data.

A form field is called by its dotted path in the definition (`pool.weighting.alpha`, `stages.0.until.steps`); the list of fields, their
types and the choices under which each one matters come from `trainer.spec.fields()`. A value that cannot be read as its field's type
stays the text that was sent, so that the definition's own validation answers it beside the field. Nothing here rejects anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from trainer.spec.field_list import FieldInfo, fields

FormData = MultiValueDict[str, str]

EVERY_STAGE = "stages.*"
STAGE = re.compile(r"stages\.(\d{1,4})\.")
MOST_STAGES = 32  # twice what a definition may hold: enough to be told, too few to make the page slow
LOCATION = re.compile(r"networks\.\w+\.model|data\.\w+\.path")
REST = ".rest"  # second half of a location: the first is a choice ("hub:", "file:", or a whole name)
OPEN_LOCATIONS = ("hub:", "file:")
ON = "on"


def spec_from(form: FormData) -> dict[str, Any]:
    """The run definition that a (normalised) form describes: only fields that matter for its choices, in the definition's order."""
    spec: dict[str, Any] = {}
    for name, info in names(stage_count(form)):
        if name in form and applies(info, name, form):
            _put(spec, name, _read(info, name, form))
    if "stages" in spec:
        spec["stages"] = list(spec["stages"].values())
    return spec


def form_from(spec: Mapping[str, Any]) -> FormData:
    """The form that shows a definition. Fields that it leaves out show their defaults."""
    form: FormData = MultiValueDict()
    stages = spec.get("stages")
    for name, info in names(min(len(stages), MOST_STAGES) if isinstance(stages, list | tuple) else 1):
        _write(info, name, _dig(spec, name, info.default), form)
    return form


def normalised(sent: QueryDict) -> FormData:
    """What was sent, with stages renumbered 0, 1, 2… in the order of their numbers."""
    found = sorted({int(match[1]) for key in sent if (match := STAGE.match(key))})[:MOST_STAGES]
    positions = {str(number): str(position) for position, number in enumerate(found)}
    form: FormData = MultiValueDict()
    for key, values in sent.lists():
        match = STAGE.match(key)
        if match is None:
            form.setlist(key, values)
        elif (position := positions.get(str(int(match[1])))) is not None:
            form.setlist(f"stages.{position}.{key[match.end() :]}", values)
    return form


def names(stages: int) -> Iterable[tuple[str, FieldInfo]]:
    """(form name, field) of a form with that many stages."""
    for info in settings():
        if not info.path.startswith(EVERY_STAGE):
            yield info.path, info
    for position in range(stages):
        for info in settings():
            if info.path.startswith(EVERY_STAGE):
                yield at_stage(info.path, position), info


@cache
def settings() -> tuple[FieldInfo, ...]:
    return tuple(fields())


def at_stage(path: str, position: int | str) -> str:
    return path.replace(EVERY_STAGE, f"stages.{position}", 1)


def stage_count(form: FormData) -> int:
    return len({match[1] for key in form if (match := STAGE.match(key))})


def conditions(info: FieldInfo, name: str) -> dict[str, str]:
    """Choices under which the field matters: form name → value."""
    match = STAGE.match(name)
    return {at_stage(path, match[1] if match else "*"): value for path, value in info.when}


def applies(info: FieldInfo, name: str, form: FormData) -> bool:
    return all(form.get(other, _default_of(other)) == value for other, value in conditions(info, name).items())


def is_location(info: FieldInfo) -> bool:
    """Whether the field says where a model or a data file is."""
    return LOCATION.fullmatch(info.path) is not None


def _default_of(name: str) -> str:
    path = STAGE.sub(f"{EVERY_STAGE}.", name)
    return next((str(info.default or "") for info in settings() if info.path == path), "")


def last(form: FormData, name: str) -> str:
    """What was sent last under a name, as a check box after its hidden companion."""
    return (form.getlist(name) or [""])[-1]


def _read(info: FieldInfo, name: str, form: FormData) -> Any:
    if info.type == "boolean":
        return last(form, name) == ON
    if info.type == "choices":
        return [value for value in form.getlist(name) if value]
    text = last(form, name).replace("\r\n", "\n")
    if is_location(info):
        return text + last(form, name + REST).strip() if text in OPEN_LOCATIONS else text.strip()
    if info.optional and not text.strip():
        return None
    if info.type == "integers":
        return [_number(part, int) for part in text.split(",") if part.strip()]
    if info.type in ("integer", "number"):
        return _number(text, int if info.type == "integer" else float)
    return info.default if text == str(info.default) else text


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    try:
        return kind(text.strip())
    except ValueError:
        return text.strip()


def _write(info: FieldInfo, name: str, value: Any, form: FormData) -> None:
    if info.type == "boolean":
        form.setlist(name, ["", ON] if value is True else [""])
    elif info.type == "choices":
        form.setlist(name, ["", *map(str, value if isinstance(value, list | tuple) else [])])
    elif info.type == "integers":
        form[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _text(value)
    elif is_location(info) and (scheme := next((open_ for open_ in OPEN_LOCATIONS if _text(value).startswith(open_)), None)):
        form[name], form[name + REST] = scheme, _text(value).removeprefix(scheme)
    else:
        form[name] = _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _put(spec: dict[str, Any], name: str, value: Any) -> None:
    """Set a value at a dotted path; an optional section whose kind is "" becomes None."""
    *parents, last = name.split(".")
    if last == "kind" and value is None:
        *parents, last = parents
    for parent in parents:
        spec = spec.setdefault(parent, {})
    spec[last] = value


def _dig(spec: Mapping[str, Any], name: str, default: Any) -> Any:
    found: Any = spec
    for part in name.split("."):
        if isinstance(found, list | tuple) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            return default
    return found
