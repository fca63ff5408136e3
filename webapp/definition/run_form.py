"""What a browser sends and what a run definition is, as two forms of the same data.

A form field is called by its dotted path in the definition (`pool.weighting.alpha`,
`stages.0.until.steps`); the fields, their types and the choices under which each one matters come
from `webapp.definition.settings_list`. Alternatives may have fields of one name: what is sent is read as
the field of the chosen one. A value that cannot be read as its field's type stays the text that was
sent, so that the definition's own validation answers it beside the field. Nothing here rejects
anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from trainer.spec.fields.field_list import FieldInfo
from webapp.definition import location_fields
from webapp.definition.settings_list import Setting, at_place, list_of, lists, numbered, settings

FormData = MultiValueDict[str, str]
Counts = Mapping[str, int]

# Twice what a definition may hold of any list: enough to be told, too few to make the page slow
MOST_ITEMS = 32
REST = (
    ".rest"  # second half of a location: the first is a choice ("hub:", "file:", or a whole name)
)
ON = "on"
EMPTY: FormData = MultiValueDict()


def spec_from(form: FormData) -> dict[str, Any]:
    """The run definition that a (normalised) form describes: only fields that matter for its
    choices, in the definition's order.
    """
    spec: dict[str, Any] = {}
    for name, setting in names(counts(form)):
        if name in form and applies(setting, name, form):
            put(spec, name, read_field(setting.info, name, form))
    for path in lists():
        _listed(spec, path)
    return spec


def form_from(spec: Mapping[str, Any]) -> FormData:
    """The form that shows a definition. Fields that it leaves out, or that its choices leave out,
    show their defaults.
    """
    form: FormData = MultiValueDict()
    for name, setting in names(counts_in(spec)):
        write_field(setting.info, name, dig(spec, name, setting.info.default), form)
    for name, setting in names(counts_in(spec)):
        if applies(setting, name, form):
            write_field(setting.info, name, dig(spec, name, setting.info.default), form)
    return form


def normalised(sent: QueryDict) -> FormData:
    """What was sent, with the items of each list renumbered 0, 1, 2… in the order of their
    numbers.
    """
    found: dict[str, set[int]] = {path: set() for path in lists()}
    for match in filter(None, map(numbered().match, sent)):
        found[match[1]].add(int(match[2]))
    places = {
        path: {number: place for place, number in enumerate(sorted(numbers)[:MOST_ITEMS])}
        for path, numbers in found.items()
    }
    form: FormData = MultiValueDict()
    for key, values in sent.lists():
        item = numbered().match(key)
        if item is None:
            form.setlist(key, values)
        elif (place := places[item[1]].get(int(item[2]))) is not None:
            form.setlist(f"{item[1]}.{place}.{key[item.end() :]}", values)
    return form


def names(counts: Counts) -> Iterator[tuple[str, Setting]]:
    """(form name, setting) of a form whose lists have that many items."""
    for setting in settings():
        if not list_of(setting.path):
            yield setting.path, setting
    for path in lists():
        for place in range(counts.get(path, 0)):
            yield from (
                (at_place(one.path, place), one) for one in settings() if list_of(one.path) == path
            )


def counts(form: FormData) -> dict[str, int]:
    """How many items of each list a (normalised) form holds."""
    places = {(match[1], match[2]) for match in map(numbered().match, form) if match}
    return {path: sum(1 for found, _ in places if found == path) for path in lists()}


def counts_in(spec: Mapping[str, Any]) -> dict[str, int]:
    """The same of a definition; one that names no stage shows a first one."""
    found = {path: dig(spec, path, None) for path in lists()}
    return {
        path: min(len(items), MOST_ITEMS)
        if isinstance(items, list | tuple)
        else int(path == "stages")
        for path, items in found.items()
    }


def conditions(setting: Setting, name: str) -> dict[str, tuple[str, ...]]:
    """Choices under which the field matters: form name → values."""
    match = numbered().match(name)
    return {
        at_place(path, match[2]) if match else path: values
        for path, values in setting.conditions.items()
    }


def applies(setting: Setting, name: str, form: FormData) -> bool:
    return hold(conditions(setting, name), form)


def hold(conditions: Mapping[str, tuple[str, ...]], form: FormData) -> bool:
    """Whether the form makes these choices."""
    return all(
        form.get(other, _default_of(other)) in values for other, values in conditions.items()
    )


def _default_of(name: str) -> str:
    path = numbered().sub(r"\1.*.", name)
    return next((str(one.info.default or "") for one in settings() if one.path == path), "")


def last(form: FormData, name: str) -> str:
    """What was sent last under a name, as a check box after its hidden companion."""
    return (form.getlist(name) or [""])[-1]


def default_values(info: FieldInfo, name: str) -> tuple[str, ...]:
    """What a field shows that nothing was sent for."""
    form: FormData = MultiValueDict()
    write_field(info, name, info.default, form)
    return tuple(form.getlist(name))


def read_field(info: FieldInfo, name: str, form: FormData) -> Any:
    """The value of one field, as its type has it; the text that was sent where it cannot be read
    so.
    """
    if info.type == "boolean":
        return last(form, name) == ON
    if info.type == "choices":
        return [value for value in form.getlist(name) if value]
    text = last(form, name).replace("\r\n", "\n")
    if location_fields.is_location(info):
        return (
            text + last(form, name + REST).strip() if text in location_fields.OPEN else text.strip()
        )
    if info.optional and not text.strip():
        return None
    if info.type in ("integers", "texts"):
        return [
            _number(part, int) if info.type == "integers" else part.strip()
            for part in text.split(",")
            if part.strip()
        ]
    if info.type in ("integer", "number"):
        return _number(text, int if info.type == "integer" else float)
    return info.default if text == str(info.default) else text


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    try:
        return kind(text.strip())
    except ValueError:
        return text.strip()


def write_field(info: FieldInfo, name: str, value: Any, form: FormData) -> None:
    """Put a value into the form as a browser would send it."""
    if info.type == "boolean":
        form.setlist(name, ["", ON] if value is True else [""])
    elif info.type == "choices":
        form.setlist(name, ["", *map(str, value if isinstance(value, list | tuple) else [])])
    elif info.type in ("integers", "texts"):
        form[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _text(value)
    elif location_fields.is_location(info) and (
        scheme := next(
            (known for known in location_fields.OPEN if _text(value).startswith(known)), None
        )
    ):
        form[name], form[name + REST] = scheme, _text(value).removeprefix(scheme)
    else:
        form[name] = _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def put(spec: dict[str, Any], name: str, value: Any) -> None:
    """Set a value at a dotted path; an optional section whose kind is "" becomes None."""
    *parents, last = name.split(".")
    if last == "kind" and value is None:
        *parents, last = parents
    for parent in parents:
        spec = spec.setdefault(parent, {})
    spec[last] = value


def _listed(spec: dict[str, Any], path: str) -> None:
    """Turn the numbered items at `path` into a list."""
    *parents, last = path.split(".")
    for parent in parents:
        spec = spec.get(parent, {})
    if last in spec:
        spec[last] = list(spec[last].values())


def dig(spec: Mapping[str, Any], name: str, default: Any) -> Any:
    """What a definition holds at a dotted path."""
    found: Any = spec
    for part in name.split("."):
        if isinstance(found, list | tuple) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            return default
    return found
