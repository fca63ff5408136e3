"""What a browser sends and what a job is, as two forms of the same data: the fields of the run
form, laid out for a job.

The fields, their types and the choices under which each one matters come from `trainer.spec.jobs`.
Nothing here rejects anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from trainer.spec import FieldInfo, SpecIssue
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team
from webapp.definition import location_choices
from webapp.definition import run_form as forms
from webapp.definition.form_fields import FormField, Places, bind
from webapp.definition.layout import Group, Heading, PlacedIssue, group_id
from webapp.definition.run_form import FormData
from webapp.definition.settings_list import Setting, settings

BASICS = "job"
HEADINGS = (
    Heading(BASICS, "Job"),
    Heading("work", "Work", "What is to be found out."),
    Heading("model", "Model", "Who answers."),
    Heading("problems", "Problems", "Every one of them is answered."),
    Heading("asked", "Prompt and verifier", "What is asked, and how an answer is judged."),
    Heading(
        "confidence",
        "Stated confidence",
        "Whether answers say how sure they are, so that it can be measured.",
    ),
    Heading("sampling", "Sampling", "How answers are drawn."),
    Heading("compute", "Compute", "Devices and their use."),
)
ASKED = ("prompt", "verifier", "verifier_seconds")
CONTEXT = {
    "plain": "It is asked the question as it stands.",
    "privileged": "It is shown the solution or the answer beside the question.",
}
ENDPOINT = "A model behind an OpenAI-compatible endpoint, asked for texts."
SAID: dict[str, dict[str, Any]] = {
    "name": {"default": ""},
    "model.kind": {
        "choices": {"model": "A model of the team, of the hub, or built in.", "endpoint": ENDPOINT}
    },
    "model.context.kind": {"help": "What the model reads.", "choices": CONTEXT},
    "model.context.shows": {
        "help": "solution: the worked solution. answer: the short reference answer.",
        "only": ("solution", "answer"),
    },
    "model.context.template": {
        "title": "Prompt",
        "help": "`{question}` stands for the question, `{privileged}` for what is shown beside it.",
    },
}
"""What is said otherwise of a job, which has one model and no student, than of a run; `only` are
the choices that a job has.
"""


@dataclass(frozen=True)
class Layout:
    groups: tuple[Group, ...]
    issues: tuple[PlacedIssue, ...]


def spec_from(form: FormData) -> dict[str, Any]:
    """The job that a form describes: only fields that matter for its choices."""
    form = completed(form)
    spec: dict[str, Any] = {}
    for setting in settings(JobSpec):
        if setting.path in form and forms.applies(setting, setting.path, form):
            forms.put(spec, setting.path, forms.read_field(setting.info, setting.path, form))
    return spec


def form_from(spec: Mapping[str, Any]) -> FormData:
    """The form that shows a job. What it leaves out, or what its choices leave out, shows its
    default.
    """
    form: FormData = forms.FormData()
    for matters in (False, True):
        for setting in settings(JobSpec):
            if not matters or forms.applies(setting, setting.path, form):
                value = forms.dig(spec, setting.path, setting.info.default)
                forms.write_field(setting.info, setting.path, value, form)
    return form


def completed(form: FormData) -> FormData:
    """With the default of each choice that was not sent, because the choices above it leave it
    out.
    """
    choices = {
        one.path: str(one.info.default)
        for one in settings(JobSpec)
        if one.info.type == "choice" and one.path not in form
    }
    return forms.FormData([*form.lists(), *((path, [value]) for path, value in choices.items())])


def places_of(team: Team) -> Places:
    """What the team can choose from; a chosen data set brings its columns and its verifier."""
    offered = location_choices.places_of(team)
    data = (
        replace(
            one, mapping={key.removeprefix("data."): value for key, value in one.mapping.items()}
        )
        for one in offered.data
    )
    return replace(offered, data=tuple(data))


def lay_out(form: FormData, issues: Sequence[SpecIssue], offered: Places) -> Layout:
    """Bind what was sent, and what is wrong with it, to the fields and groups of the page."""
    form = completed(form)
    bound = [bind(setting.path, setting, form, offered) for setting in job_settings()]
    placed = tuple(_placed(issue, bound) for issue in issues)
    bound = [replace(one, problem=_said(placed, one.id)) for one in bound]
    return Layout(tuple(_group(heading, bound, placed) for heading in HEADINGS), placed)


@cache
def job_settings() -> tuple[Setting, ...]:
    """Every setting of a job, in the words of a job."""
    return tuple(replace(one, info=_said_of(one.info)) for one in settings(JobSpec))


def _said_of(info: FieldInfo) -> FieldInfo:
    said = dict(SAID.get(info.path, {}))
    words, only = said.pop("choices", {}), said.pop("only", None)
    choices = tuple(
        replace(one, help=words.get(one.value, one.help))
        for one in info.choices
        if only is None or one.value in only
    )
    return replace(info, choices=choices, **said)


def _group(heading: Heading, bound: Iterable[FormField], placed: Sequence[PlacedIssue]) -> Group:
    fields = tuple(one for one in bound if _key(one.name) == heading.key)
    return Group(heading, fields, _said(placed, group_id(heading.key)))


def _key(name: str) -> str:
    """The heading that a field stands under."""
    first, _, rest = name.partition(".")
    return "asked" if first in ASKED else first if rest else BASICS


def _placed(issue: SpecIssue, bound: Iterable[FormField]) -> PlacedIssue:
    """Beside the field at its path or above it, else beside the group."""
    shown = {one.name: one for one in bound if one.shown}
    path = issue.path
    while path:
        if found := shown.get(path) or shown.get(f"{path}.kind"):
            return PlacedIssue(issue.message, found.id, found.title)
        path = path.rpartition(".")[0]
    key = _key(f"{issue.path}.") if issue.path else BASICS
    titles = {heading.key: heading.title for heading in HEADINGS}
    return PlacedIssue(
        issue.message, group_id(key if key in titles else BASICS), titles.get(key, issue.path)
    )


def _said(placed: Sequence[PlacedIssue], target: str) -> str:
    return " ".join(one.sentence for one in placed if one.target == target)
