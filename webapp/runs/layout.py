"""How the fields of a run definition stand on the page: groups of bound fields, each problem beside the field that can mend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from trainer.spec import Problem
from webapp.runs import form as forms
from webapp.runs.form import FormData
from webapp.runs.form_fields import FormField, Places, bind

BASICS = "run"


@dataclass(frozen=True)
class Heading:
    """A group of the page: it takes the fields whose names begin with its key."""

    key: str
    title: str
    help: str = ""


HEADINGS = (
    Heading(BASICS, "Run"),
    Heading("networks.student", "Student", "The model that is trained."),
    Heading("networks.teacher", "Teacher", "The frozen model that the student learns from."),
    Heading("data.train", "Training problems", "The pool that is distilled on."),
    Heading("data.evaluation", "Held-out problems", "Measured during the run, never trained on."),
    Heading("data.retained", "Retained skill", "A skill outside the pool, measured before and after: how much is forgotten."),
    Heading("data", "Prompt and verifier", "What is asked, and how an answer is judged."),
    Heading("pool", "Problem pool", "Stage 0: the student's pass rate on every problem, and the weight that follows from it."),
    Heading("compute", "Compute", "Devices and their use."),
    Heading("evaluation", "Evaluation", "What is measured on held-out problems."),
    Heading("checkpoints", "Checkpoints", "What is kept to resume from."),
)


@dataclass(frozen=True)
class Part:
    """Fields of a group under a subheading of their own, or under none."""

    title: str
    fields: tuple[FormField, ...]
    when: str
    shown: bool

    @property
    def expert(self) -> bool:
        return all(one.expert for one in self.fields)


@dataclass(frozen=True)
class Group:
    heading: Heading
    fields: tuple[FormField, ...]
    problem: str = ""

    @property
    def id(self) -> str:
        return group_id(self.heading.key)

    @property
    def expert(self) -> bool:
        return all(one.expert for one in self.fields)

    @property
    def parts(self) -> list[Part]:
        titles = dict.fromkeys(["", *(one.subheading for one in self.fields)])
        return [_part(title, tuple(one for one in self.fields if one.subheading == title)) for title in titles]


@dataclass(frozen=True)
class PlacedProblem:
    """A complaint, and the id of the element on the page that says it."""

    message: str
    target: str
    label: str

    @property
    def sentence(self) -> str:
        return sentence(self.message)


@dataclass(frozen=True)
class Layout:
    groups: dict[str, Group]
    stages: tuple[Group, ...]
    new_stage: Group
    problems: tuple[PlacedProblem, ...]
    stages_problem: str

    @property
    def basics(self) -> Group:
        return self.groups[BASICS]

    @property
    def pool(self) -> Group:
        return self.groups["pool"]

    @property
    def networks(self) -> list[Group]:
        return self._within("networks")

    @property
    def data(self) -> list[Group]:
        return self._within("data")

    @property
    def others(self) -> list[Group]:
        """Sections without a layout of their own."""
        return [group for key, group in self.groups.items() if key.split(".")[0] not in (BASICS, "pool", "networks", "data")]

    def _within(self, section: str) -> list[Group]:
        return [group for key, group in self.groups.items() if key.split(".")[0] == section]


def lay_out(form: FormData, problems: Sequence[Problem], places: Places) -> Layout:
    """Bind what was sent (normalised) and what is wrong with it to the fields and groups of the page."""
    bound = [bind(name, info, form, places) for name, info in forms.names(forms.stage_count(form))]
    listed = place(problems, bound)
    said = {target: " ".join(one.sentence for one in listed if one.target == target) for target in {one.target for one in listed}}
    bound = [replace(one, problem=said.get(one.id, "")) for one in bound]
    return Layout(
        groups={heading.key: _group(heading, bound, said) for heading in headings()},
        stages=tuple(_group(Heading(f"stages.{at}", f"Stage {at + 1}"), bound, said) for at in range(forms.stage_count(form))),
        new_stage=new_stage(places),
        problems=listed,
        stages_problem=said.get(group_id("stages"), ""),
    )


def place(problems: Sequence[Problem], bound: Sequence[FormField]) -> tuple[PlacedProblem, ...]:
    """Where each problem is said."""
    labels = (
        {one.id: label_of(one) for one in bound}
        | {group_id(heading.key): heading.title for heading in headings()}
        | {group_id("stages"): "Stages"}
    )
    targets = [_target(problem.path, bound) for problem in problems]
    return tuple(PlacedProblem(p.message, target, labels.get(target, p.path)) for p, target in zip(problems, targets, strict=True))


@cache
def headings() -> tuple[Heading, ...]:
    """The known headings, then one for each section that has come since."""
    known = {heading.key: heading for heading in HEADINGS}
    for info in forms.settings():
        if group_key(info.path) not in {*known, "stages"}:
            known[group_key(info.path)] = Heading(group_key(info.path), info.group[0])
    return tuple(known.values())


def group_key(name: str) -> str:
    """Key of the heading that a field stands under: the longest one that its name begins with."""
    found = [heading.key for heading in HEADINGS if name.startswith(heading.key + ".")]
    first, _, rest = name.partition(".")
    return max(found, key=len, default=first if rest else BASICS)


def group_id(key: str) -> str:
    return "group-" + key.replace(".", "-")


def new_stage(places: Places) -> Group:
    """The stage that the button "Add a stage" adds; the browser numbers it."""
    form = forms.form_from({"stages": [{}]})
    fields = [bind(name, info, form, places) for name, info in forms.names(1)]
    return _group(Heading("stages.0", "New stage"), fields, {})


def label_of(one: FormField) -> str:
    stage = forms.STAGE.match(one.name)
    return f"Stage {int(stage[1]) + 1}, {one.title}" if stage else one.title


def sentence(message: str) -> str:
    """A complaint as it stands beside its field: "must be at least 1" becomes "Must be at least 1."."""
    message = message[:1].upper() + message[1:]
    return message if message.endswith((".", "?", "!")) else message + "."


def _target(path: str, bound: Iterable[FormField]) -> str:
    """The field at this path or above it, the choice that opens the section, or the group around it."""
    ids = {one.name: one.id for one in bound if one.shown}
    for above in _upwards(path):
        if found := ids.get(above) or ids.get(f"{above}.kind"):
            return found
    stage = forms.STAGE.match(f"{path}.")
    return group_id(f"stages.{stage[1]}" if stage else "stages" if path == "stages" else group_key(f"{path}."))


def _upwards(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]


def _group(heading: Heading, bound: Iterable[FormField], said: Mapping[str, str]) -> Group:
    stage = heading.key.startswith("stages.")
    fields = [one for one in bound if (one.name.startswith(heading.key + ".") if stage else group_key(one.name) == heading.key)]
    return Group(heading, tuple(fields), said.get(group_id(heading.key), ""))


def _part(title: str, fields: tuple[FormField, ...]) -> Part:
    """A part is hidden with its fields if all of them depend on the same choices."""
    when = {one.when for one in fields}
    return Part(title, fields, when.pop() if len(when) == 1 else "", any(one.shown for one in fields))
