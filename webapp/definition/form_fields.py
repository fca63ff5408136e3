"""One field of the form: the setting behind it, what was sent for it, and how it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from trainer.spec import FieldInfo
from webapp.definition import location_fields
from webapp.definition import run_form as forms
from webapp.definition.run_form import FormData
from webapp.definition.settings_list import Setting

CODE = re.compile(r"`([^`]+)`")
WORTH_TELLING = 1_000_000
SUBHEADINGS = ("Columns", "Rollouts", "Sampling", "Optimiser")
LONG_TEXTS = re.compile(
    r"(data\.)?(prompt|confidence\.instruction)|(networks\..*|model\.)context\.template"
)
OPENING = re.compile(
    r"(data\.(train|evaluation|retained|confidence)|networks\.teacher|work|model|problems|confidence)\.kind"
)
ENDPOINTS = ("networks.teacher.url", "model.url")
ALWAYS_EXPERT = ("recipe", "version")


@dataclass(frozen=True)
class Place:
    """A location that may be chosen. An open one ("hub:") is completed by hand, as `example` shows;
    a data set brings a `mapping`.
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
class Places:
    """What the team can choose from."""

    models: tuple[Place, ...] = ()
    data: tuple[Place, ...] = ()
    endpoints: str = ""

    def of(self, info: FieldInfo) -> tuple[Place, ...]:
        if not location_fields.is_location(info):
            return ()
        return self.models if location_fields.is_model(info) else self.data

    def note_on(self, info: FieldInfo) -> str:
        """What the operator has to say about a field."""
        return self.endpoints if info.path in ENDPOINTS else ""


@dataclass(frozen=True)
class FormField:
    """One field of the form with what was sent for it. `note` comes from the operator."""

    name: str
    info: FieldInfo
    values: tuple[str, ...]
    rest: str
    conditions: dict[str, tuple[str, ...]]
    shown: bool
    places: tuple[Place, ...] = ()
    note: str = ""
    problem: str = ""

    @property
    def id(self) -> str:
        """Differs between alternatives that have a field of the same name."""
        return "-".join(
            ["field", *self.name.split("."), *(value for _, value in self.info.when[-1:])]
        )

    @property
    def template(self) -> str:
        kind = "location" if self.is_location else "fixed" if self.fixed else self.info.type
        known = ("boolean", "choice", "choices", "fixed", "location")
        return f"new_run/fields/{kind if kind in known else 'long_text' if self.is_long else 'text'}.html"

    @property
    def is_location(self) -> bool:
        return location_fields.is_location(self.info)

    @property
    def is_long(self) -> bool:
        return LONG_TEXTS.fullmatch(self.info.path) is not None

    @property
    def value(self) -> str:
        return self.values[-1] if self.values else ""

    @property
    def checked(self) -> bool:
        return self.value == forms.ON

    @property
    def when(self) -> str:
        return condition(self.conditions)

    @property
    def fixed(self) -> bool:
        """A choice of one is told, not asked."""
        return self.info.type == "choice" and len(self.info.choices) == 1 and not self.info.optional

    @property
    def open_location(self) -> bool:
        return self.value in location_fields.OPEN

    @property
    def foreign_location(self) -> bool:
        """Whether the value is a name that the team has nothing for, as after an import."""
        return bool(self.value) and self.value not in {place.value for place in self.places}

    @property
    def choices(self) -> list[dict[str, Any]]:
        empty = (
            [{"value": "", "label": "none", "help": "", "chosen": not self.value}]
            if self.info.optional
            else []
        )
        return empty + [
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
        """(condition, help, shown) of each choice that has something to say."""
        return [
            (
                condition({**self.conditions, self.name: (choice.value,)}),
                choice.help,
                choice.value == self.value,
            )
            for choice in self.info.choices
            if choice.help
        ]

    @property
    def numeric(self) -> str:
        return {"integer": "numeric", "number": "decimal"}.get(self.info.type, "")

    @property
    def title(self) -> str:
        return self.info.title if self.info.title != "kind" else self.info.group[-1]

    @property
    def unit(self) -> str:
        """Empty where the title names it already."""
        return "" if self.info.title.lower().endswith(self.info.unit) else self.info.unit

    @property
    def expert(self) -> bool:
        """Whether only the expert mode shows it: never what has been set to something of its
        own.
        """
        is_default = self.values == forms.default_values(self.info, self.name)
        return self.fixed or (self.info.expert and (is_default or self.name in ALWAYS_EXPERT))

    @property
    def hidden_at(self) -> str:
        """The values with which only the expert mode shows it, as the browser reads them; empty if
        its values do not decide that.
        """
        decides = self.info.expert and not self.fixed and self.name not in ALWAYS_EXPERT
        return json.dumps(forms.default_values(self.info, self.name)) if decides else ""

    @property
    def opens_group(self) -> bool:
        """Whether this choice decides all of its group, whose heading then speaks for it."""
        return OPENING.fullmatch(self.name) is not None

    @property
    def help(self) -> SafeString:
        return mark_safe(CODE.sub(r"<code>\1</code>", escape(self.info.help)))

    @property
    def range(self) -> str:
        """The bounds in words: "0 to 16", "above 0, at most 60". A bound that only keeps madness
        out is not worth a word.
        """
        words = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
        bounds = {
            key: f"{bound:,}" for key, bound in self.info.bounds.items() if bound < WORTH_TELLING
        }
        if "ge" in bounds and "le" in bounds:
            return f"{bounds['ge']} to {bounds['le']}"
        return ", ".join(text.format(bounds[key]) for key, text in words.items() if key in bounds)

    @property
    def default(self) -> str:
        """The default in words; empty if there is none worth telling."""
        default = self.info.default
        if isinstance(default, bool):
            return "on" if default else "off"
        if isinstance(default, list):
            return ", ".join(map(str, default))
        text = "" if default is None or self.is_location or self.is_long else str(default)
        return text.replace("_", " ") if self.info.type == "choice" else text

    @property
    def wide(self) -> bool:
        return self.is_location or self.info.type == "choices" or self.is_long

    @property
    def subheading(self) -> str:
        return next((title for title in self.info.group if title in SUBHEADINGS), "")


def bind(name: str, setting: Setting, form: FormData, places: Places) -> FormField:
    """The field with what was sent for it; one that does not matter for the choices made shows its
    default.
    """
    shown, info = forms.applies(setting, name, form), setting.info
    return FormField(
        name=name,
        info=info,
        values=tuple(form.getlist(name))
        if shown and name in form
        else forms.default_values(info, name),
        rest=forms.last(form, name + forms.REST) if shown else "",
        conditions=forms.conditions(setting, name),
        shown=shown,
        places=places.of(info),
        note=places.note_on(info),
    )


def condition(choices: Mapping[str, tuple[str, ...]]) -> str:
    """Conditions as the browser reads them; empty for none."""
    return json.dumps(choices) if choices else ""


def shortened(text: str, length: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
