"""One field of the form: its setting, the values sent for it, and how it is shown.

Which fields there are is decided in `webapp.definition.fields_from_spec`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from trainer.spec.fields.field_list import FieldInfo, Heading
from webapp.definition import run_form as forms
from webapp.definition.fields_from_spec import Setting
from webapp.definition.run_form import FormData

CODE = re.compile(r"`([^`]+)`")
# Bounds from here on only keep absurd values out, so the help text does not mention them.
LARGEST_SHOWN_BOUND = 1_000_000


@dataclass(frozen=True)
class LocationChoice:
    """A location that may be chosen.

    An open one ("hub:") is completed by hand, as `example` shows. `mapping` holds the form values
    that choosing a data set fills in.
    """

    value: str
    label: str
    group: str = ""
    example: str = ""
    mapping: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mapping_json(self) -> str:
        return json.dumps(dict(self.mapping)) if self.mapping else ""


@dataclass(frozen=True)
class LocationChoices:
    """The models and data files that a team can choose from.

    `endpoint_note` is the operator's note on fields that take the address of an endpoint.
    """

    models: tuple[LocationChoice, ...] = ()
    data: tuple[LocationChoice, ...] = ()
    endpoint_note: str = ""

    def for_field(self, info: FieldInfo) -> tuple[LocationChoice, ...]:
        return {"model": self.models, "data": self.data}.get(info.location, ())

    def note_on(self, info: FieldInfo) -> str:
        return self.endpoint_note if info.location == "endpoint" else ""


@dataclass(frozen=True)
class FormField:
    """One field of the form with the values sent for it.

    `completion` is the second half of a location. `applies` says whether the field matters for the
    choices made; the page hides it otherwise. `note` comes from the operator.
    """

    name: str
    info: FieldInfo
    values: tuple[str, ...]
    completion: str
    conditions: dict[str, tuple[str, ...]]
    applies: bool
    location_choices: tuple[LocationChoice, ...] = ()
    note: str = ""
    error: str = ""

    @property
    def id(self) -> str:
        """The HTML id; it differs between alternatives that have a field of the same name."""
        return "-".join(
            ["field", *self.name.split("."), *(value for _, value in self.info.when[-1:])]
        )

    @property
    def template(self) -> str:
        # Numbers and short texts share one template: types without their own fall through to it.
        kind = "location" if self.is_location else "fixed" if self.fixed else self.info.type
        if kind not in ("boolean", "choice", "choices", "fixed", "location"):
            kind = "long_text" if self.info.multiline else "text"
        return f"new_run/fields/{kind}.html"

    @property
    def is_location(self) -> bool:
        return forms.is_location(self.info)

    @property
    def value(self) -> str:
        return self.values[-1] if self.values else ""

    @property
    def checked(self) -> bool:
        return self.value == forms.ON

    @property
    def when(self) -> str:
        return conditions_json(self.conditions)

    @property
    def fixed(self) -> bool:
        """Whether there is one choice only, which is shown as text."""
        return self.info.type == "choice" and len(self.info.choices) == 1 and not self.info.optional

    @property
    def open_location(self) -> bool:
        return self.value in forms.OPEN_SCHEMES

    @property
    def foreign_location(self) -> bool:
        """Whether the value names a location that the team lacks, as after an import."""
        offered = {choice.value for choice in self.location_choices}
        return bool(self.value) and self.value not in offered

    @property
    def choices(self) -> list[dict[str, Any]]:
        none = {"value": "", "label": "none", "help": "", "chosen": not self.value}
        return ([none] if self.info.optional else []) + [
            {
                "value": choice.value,
                "label": choice.value.replace("_", " "),
                "help": choice.help,
                "chosen": choice.value in self.values,
            }
            for choice in self.info.choices
        ]

    @property
    def choice_help(self) -> list[tuple[str, str, bool]]:
        """(condition, help, is chosen) of each choice that has a help text."""
        return [
            (
                conditions_json({**self.conditions, self.name: (choice.value,)}),
                choice.help,
                choice.value == self.value,
            )
            for choice in self.info.choices
            if choice.help
        ]

    @property
    def inputmode(self) -> str:
        return {"integer": "numeric", "number": "decimal"}.get(self.info.type, "")

    @property
    def title(self) -> str:
        return self.info.title if self.info.title != "kind" else self.info.group[-1]

    @property
    def unit(self) -> str:
        """The unit; empty where the title names it already."""
        return "" if self.info.title.lower().endswith(self.info.unit) else self.info.unit

    @property
    def expert(self) -> bool:
        """Whether only the expert mode shows it; never if its value differs from the default."""
        is_default = self.values == forms.default_values(self.info, self.name)
        return self.fixed or (self.info.expert and (is_default or self.info.provenance))

    @property
    def hidden_at(self) -> str:
        """The values, as JSON, with which only the expert mode shows the field.

        Empty if its values do not decide that.
        """
        value_decides = self.info.expert and not self.fixed and not self.info.provenance
        return json.dumps(forms.default_values(self.info, self.name)) if value_decides else ""

    @property
    def is_group_kind(self) -> bool:
        """Whether this choice decides all of its group, whose heading has its title and help."""
        # Headings are equal if their texts are.
        own = Heading(self.info.path, self.info.title, self.info.help)
        return self.info.type == "choice" and self.info.heading == own

    @property
    def help(self) -> SafeString:
        # Safe, because the text is escaped before the tags are put in.
        return mark_safe(CODE.sub(r"<code>\1</code>", escape(self.info.help)))

    @property
    def range(self) -> str:
        """The bounds as text: "0 to 16", "above 0, at most 60"."""
        phrases = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
        bounds = {
            key: f"{bound:,}"
            for key, bound in self.info.bounds.items()
            if bound < LARGEST_SHOWN_BOUND
        }
        if "ge" in bounds and "le" in bounds:
            return f"{bounds['ge']} to {bounds['le']}"
        return ", ".join(text.format(bounds[key]) for key, text in phrases.items() if key in bounds)

    @property
    def default(self) -> str:
        """The default as text; empty for locations, long texts and settings without one."""
        default = self.info.default
        if isinstance(default, bool):
            return "on" if default else "off"
        if isinstance(default, list):
            return ", ".join(map(str, default))
        text = "" if default is None or self.is_location or self.info.multiline else str(default)
        return text.replace("_", " ") if self.info.type == "choice" else text

    @property
    def wide(self) -> bool:
        return self.is_location or self.info.type == "choices" or self.info.multiline

    @property
    def subheading(self) -> str:
        return self.info.subheading


def bind(name: str, setting: Setting, form: FormData, locations: LocationChoices) -> FormField:
    """Return the field with the values sent for it, or its default where it does not apply."""
    applies, info = forms.applies(setting, name, form), setting.info
    is_sent = applies and name in form
    return FormField(
        name=name,
        info=info,
        values=tuple(form.getlist(name)) if is_sent else forms.default_values(info, name),
        completion=forms.last_value(form, name + forms.COMPLETION) if applies else "",
        conditions=forms.conditions(setting, name),
        applies=applies,
        location_choices=locations.for_field(info),
        note=locations.note_on(info),
    )


def conditions_json(conditions: Mapping[str, tuple[str, ...]]) -> str:
    """Return conditions as the browser reads them (`data-when`); empty for none."""
    return json.dumps(conditions) if conditions else ""


def shortened(text: str, length: int = 160) -> str:
    """Return the text on one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
