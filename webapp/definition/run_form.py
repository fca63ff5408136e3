"""Conversion between a run definition and the form data that a browser sends.

A form field is named by its dotted path in the definition (`pool.weighting.alpha`,
`stages.0.until.steps`). The fields, their types and the choices under which each one matters come
from `webapp.definition.fields_from_spec`. Alternatives may have fields of one name: the value sent
is read as the field of the chosen alternative. A value that cannot be read as its field's type
stays the text that was sent, so that the definition's own validation reports it beside the field.
Nothing here rejects anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from trainer.spec.fields.field_list import FieldInfo
from webapp.definition.fields_from_spec import (
    Setting,
    item_prefix,
    list_path,
    list_paths,
    settings,
    with_index,
)

FormData = MultiValueDict[str, str]
Counts = Mapping[str, int]

# Twice the 16 items that a definition may hold in any list: enough for its validation to report
# the excess, too few to make the page slow.
MOST_ITEMS = 32
# Prefixes that the user completes by hand; any other location is chosen as a complete name.
OPEN_SCHEMES = ("hub:", "file:")
# Suffix of the second half of a location; the first half is a choice ("hub:", "file:", or a
# complete name).
COMPLETION = ".rest"
# What a browser sends for a checked box without a value of its own.
ON = "on"
EMPTY: FormData = MultiValueDict()


def spec_from(form: FormData) -> dict[str, Any]:
    """Return the run definition that a normalised form describes.

    It holds only fields that matter for the form's choices, in the definition's order.
    """
    spec: dict[str, Any] = {}
    for name, setting in field_names(item_counts(form)):
        if name in form and applies(setting, name, form):
            put(spec, name, read_field(setting.info, name, form))
    # So far the items of a list are a mapping from their numbers; `field_names` gives the order.
    for path in list_paths():
        *parents, last = path.split(".")
        section = spec
        for parent in parents:
            section = section.get(parent, {})
        if last in section:
            section[last] = list(section[last].values())
    return spec


def form_from(spec: Mapping[str, Any]) -> FormData:
    """Return the form that shows a definition.

    Fields that the definition omits, or that do not matter for its choices, show their defaults.
    """
    form: FormData = MultiValueDict()
    # Two passes: whether a field applies depends on choices that may be written after it.
    for only_applying in (False, True):
        for name, setting in field_names(item_counts_in(spec)):
            if not only_applying or applies(setting, name, form):
                write_field(setting.info, name, value_at(spec, name, setting.info.default), form)
    return form


def normalised(post: QueryDict) -> FormData:
    """Return the posted form with the items of each list renumbered 0, 1, 2 … in their order.

    The numbers have gaps after somebody removed an item in the browser.
    """
    numbers: dict[str, set[int]] = {path: set() for path in list_paths()}
    for match in filter(None, map(item_prefix().match, post)):
        numbers[match[1]].add(int(match[2]))
    indexes = {
        path: {number: index for index, number in enumerate(sorted(posted)[:MOST_ITEMS])}
        for path, posted in numbers.items()
    }
    form: FormData = MultiValueDict()
    for key, values in post.lists():
        item = item_prefix().match(key)
        if item is None:
            form.setlist(key, values)
        elif (index := indexes[item[1]].get(int(item[2]))) is not None:
            form.setlist(f"{item[1]}.{index}.{key[item.end() :]}", values)
    return form


def field_names(counts: Counts) -> Iterator[tuple[str, Setting]]:
    """Yield (form name, setting) of a form whose lists have that many items."""
    for setting in settings():
        if not list_path(setting.path):
            yield setting.path, setting
    for path in list_paths():
        for index in range(counts.get(path, 0)):
            for setting in settings():
                if list_path(setting.path) == path:
                    yield with_index(setting.path, index), setting


def item_counts(form: FormData) -> dict[str, int]:
    """Return how many items of each list a normalised form holds."""
    items = {(match[1], match[2]) for match in map(item_prefix().match, form) if match}
    return {path: sum(1 for item_path, _ in items if item_path == path) for path in list_paths()}


def item_counts_in(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return how many items of each list a definition has; at least one stage is shown."""
    items_by_path = {path: value_at(spec, path, None) for path in list_paths()}
    return {
        path: min(len(items), MOST_ITEMS)
        if isinstance(items, list | tuple)
        else int(path == "stages")
        for path, items in items_by_path.items()
    }


def conditions(setting: Setting, name: str) -> dict[str, tuple[str, ...]]:
    """Return the choices under which the field matters: form name → values."""
    match = item_prefix().match(name)
    return {
        with_index(path, match[2]) if match else path: values
        for path, values in setting.conditions.items()
    }


def applies(setting: Setting, name: str, form: FormData) -> bool:
    """Whether the field matters for the choices that the form makes."""
    return conditions_hold(conditions(setting, name), form)


def conditions_hold(conditions: Mapping[str, tuple[str, ...]], form: FormData) -> bool:
    """Whether each named choice of the form, or its default, has one of its values."""
    return all(form.get(name, _default_of(name)) in values for name, values in conditions.items())


def _default_of(name: str) -> str:
    path = item_prefix().sub(r"\1.*.", name)
    defaults = (setting.info.default for setting in settings() if setting.path == path)
    return str(next(defaults, "") or "")


def is_location(info: FieldInfo) -> bool:
    """Whether the field is a choice among the models or data files of the team."""
    return info.location in ("model", "data")


def last_value(form: FormData, name: str) -> str:
    """Return the last value sent under a name: a check box follows its hidden empty companion."""
    return (form.getlist(name) or [""])[-1]


def default_values(info: FieldInfo, name: str) -> tuple[str, ...]:
    """Return the values that a field shows if nothing was sent for it."""
    form: FormData = MultiValueDict()
    write_field(info, name, info.default, form)
    return tuple(form.getlist(name))


def read_field(info: FieldInfo, name: str, form: FormData) -> Any:
    """Return the value of one field in its type, or the text sent if it cannot be read so."""
    if info.type == "boolean":
        return last_value(form, name) == ON
    if info.type == "choices":
        return [value for value in form.getlist(name) if value]
    # HTML forms send every line break of a text area as CR LF.
    text = last_value(form, name).replace("\r\n", "\n")
    if is_location(info):
        if text in OPEN_SCHEMES:
            return text + last_value(form, name + COMPLETION).strip()
        return text.strip()
    if info.optional and not text.strip():
        return None
    if info.type in ("integers", "texts"):
        items = [item.strip() for item in text.split(",") if item.strip()]
        return [_number(item, int) for item in items] if info.type == "integers" else items
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
    text = "" if value is None else str(value)
    if info.type == "boolean":
        # The hidden companion of a check box sends the empty value, so that a box that is not
        # checked differs from a field that was not sent, which shows its default.
        form.setlist(name, ["", ON] if value is True else [""])
    elif info.type == "choices":
        form.setlist(name, ["", *map(str, value if isinstance(value, list | tuple) else [])])
    elif info.type in ("integers", "texts"):
        form[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else text
    elif is_location(info) and text.startswith(OPEN_SCHEMES):
        scheme, _, completion = text.partition(":")
        form[name], form[name + COMPLETION] = f"{scheme}:", completion
    else:
        form[name] = text


def put(spec: dict[str, Any], name: str, value: Any) -> None:
    """Set a value at a dotted path; an optional section whose kind is "" becomes None."""
    *parents, last = name.split(".")
    if last == "kind" and value is None:
        *parents, last = parents
    for parent in parents:
        spec = spec.setdefault(parent, {})
    spec[last] = value


def value_at(spec: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return what a definition holds at a dotted path, or the default."""
    value: Any = spec
    for key in name.split("."):
        if isinstance(value, list | tuple) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, Mapping) and key in value:
            value = value[key]
        else:
            return default
    return value
