"""How the fields of a run definition stand on the page: groups of bound fields, each problem beside
the field that can mend it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from trainer.spec import SpecIssue
from webapp.definition import run_form as forms
from webapp.definition.form_fields import FormField, Places, bind, condition
from webapp.definition.run_form import FormData
from webapp.definition.settings_list import list_of, lists, numbered, settings

BASICS = "run"
WEIGHTED = {"pool.estimate": ("before",), "pool.weighting.kind": ("paced", "hard_filter")}
"""Choices under which problems count by their pass rates, so that there is a curve w(p) to draw."""


@dataclass(frozen=True)
class Heading:
    """A group of the page: it takes the fields whose names begin with its key."""

    key: str
    title: str
    help: str = ""


HEADINGS = (
    Heading(BASICS, "Run"),
    Heading("networks.student", "Student", "The model that is trained."),
    Heading("networks.teacher", "Teacher", "Whom the student learns from."),
    Heading("data.train", "Training problems", "The pool that is distilled on."),
    Heading("data.evaluation", "Held-out problems", "Measured during the run, never trained on."),
    Heading(
        "data.retained",
        "Retained skill",
        "A skill outside the pool, measured before and after: how much is forgotten.",
    ),
    Heading("data", "Prompt and verifier", "What is asked, and how an answer is judged."),
    Heading(
        "data.confidence",
        "Stated confidence",
        "Whether answers say how sure they are, so that it can be measured and taught.",
    ),
    Heading(
        "pool",
        "Problem pool",
        "Stage 0: the student's pass rate on every problem, and the weight that follows from it.",
    ),
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
        return [
            _part(title, tuple(one for one in self.fields if one.subheading == title))
            for title in titles
        ]


@dataclass(frozen=True)
class PlacedIssue:
    """A complaint, and the id of the element on the page that says it."""

    message: str
    target: str
    label: str

    @property
    def sentence(self) -> str:
        return sentence(self.message)


@dataclass(frozen=True)
class Listing:
    """A list of sections: its items, one to add, and what is wrong with the list as such."""

    path: str
    items: tuple[Group, ...]
    new: Group
    problem: str

    @property
    def id(self) -> str:
        return group_id(self.path)

    @property
    def path_id(self) -> str:
        return self.path.replace(".", "-")

    @property
    def title(self) -> str:
        return title_of(self.path)

    @property
    def word(self) -> str:
        return self.title.lower()

    @property
    def expert(self) -> bool:
        """Whether only the expert mode shows it: an empty list of experts."""
        return not self.items and self.new.expert


@dataclass(frozen=True)
class Layout:
    groups: dict[str, Group]
    lists: dict[str, Listing]
    issues: tuple[PlacedIssue, ...]
    has_curve: bool

    @property
    def stages(self) -> Listing:
        return self.lists["stages"]

    @property
    def specialists(self) -> Listing:
        return self.lists["networks.specialists"]

    @property
    def basics(self) -> Group:
        return self.groups[BASICS]

    @property
    def pool(self) -> Group:
        return self.groups["pool"]

    @property
    def curve_when(self) -> str:
        return condition(WEIGHTED)

    @property
    def networks(self) -> list[Group]:
        return self._within("networks")

    @property
    def data(self) -> list[Group]:
        return self._within("data")

    @property
    def others(self) -> list[Group]:
        """Sections without a layout of their own."""
        return [
            group
            for key, group in self.groups.items()
            if key.split(".")[0] not in (BASICS, "pool", "networks", "data")
        ]

    def _within(self, section: str) -> list[Group]:
        return [group for key, group in self.groups.items() if key.split(".")[0] == section]


def lay_out(form: FormData, issues: Sequence[SpecIssue], places: Places) -> Layout:
    """Bind what was sent (normalised) and what is wrong with it to the fields and groups of the
    page.
    """
    counts = forms.counts(form)
    bound = [bind(name, setting, form, places) for name, setting in forms.names(counts)]
    listed = place(issues, bound)
    said = {
        target: " ".join(one.sentence for one in listed if one.target == target)
        for target in {one.target for one in listed}
    }
    bound = [replace(one, problem=said.get(one.id, "")) for one in bound]
    return Layout(
        groups={heading.key: _group(heading, bound, said) for heading in headings()},
        lists={path: _listing(path, counts[path], bound, said, places) for path in lists()},
        issues=listed,
        has_curve=forms.hold(WEIGHTED, form),
    )


def place(issues: Sequence[SpecIssue], bound: Sequence[FormField]) -> tuple[PlacedIssue, ...]:
    """Where each issue is shown."""
    labels = (
        {one.id: label_of(one) for one in bound}
        | {group_id(heading.key): heading.title for heading in headings()}
        | {group_id(path): title_of(path) + "s" for path in lists()}
    )
    targets = [_target(issue.path, bound) for issue in issues]
    return tuple(
        PlacedIssue(p.message, target, labels.get(target, p.path))
        for p, target in zip(issues, targets, strict=True)
    )


@cache
def headings() -> tuple[Heading, ...]:
    """The known headings, then one for each section that has come since."""
    known = {heading.key: heading for heading in HEADINGS}
    for setting in settings():
        if not list_of(setting.path) and group_key(setting.path) not in known:
            known[group_key(setting.path)] = Heading(group_key(setting.path), setting.info.group[0])
    return tuple(known.values())


def group_key(name: str) -> str:
    """Key of the heading that a field stands under: the longest one that its name begins with."""
    found = [heading.key for heading in HEADINGS if name.startswith(heading.key + ".")]
    first, _, rest = name.partition(".")
    return max(found, key=len, default=first if rest else BASICS)


def group_id(key: str) -> str:
    return "group-" + key.replace(".", "-")


def title_of(path: str) -> str:
    """What an item of a list is called: "Stage", "Specialist"."""
    return path.rpartition(".")[2].removesuffix("s").capitalize()


def label_of(one: FormField) -> str:
    item = numbered().match(one.name)
    return f"{title_of(item[1])} {int(item[2]) + 1}, {one.title}" if item else one.title


def sentence(message: str) -> str:
    """A complaint as it stands beside its field: "must be at least 1" becomes "Must be at least
    1.".
    """
    message = message[:1].upper() + message[1:]
    return message if message.endswith((".", "?", "!")) else message + "."


def _target(path: str, bound: Iterable[FormField]) -> str:
    """The field at this path or above it, the choice that opens the section, or the group around
    it.
    """
    ids = {one.name: one.id for one in bound if one.shown}
    for above in _upwards(path):
        if found := ids.get(above) or ids.get(f"{above}.kind"):
            return found
        if above in lists() or numbered().fullmatch(f"{above}."):
            return group_id(above)
    return group_id(group_key(f"{path}."))


def _upwards(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]


def _group(heading: Heading, bound: Iterable[FormField], said: Mapping[str, str]) -> Group:
    fields = (
        one
        for one in bound
        if not numbered().match(one.name) and group_key(one.name) == heading.key
    )
    return Group(heading, tuple(fields), said.get(group_id(heading.key), ""))


def _listing(
    path: str, count: int, bound: Sequence[FormField], said: Mapping[str, str], places: Places
) -> Listing:
    items = tuple(_item(path, at, bound, said) for at in range(count))
    return Listing(path, items, new_item(path, places), said.get(group_id(path), ""))


def _item(path: str, at: int, bound: Iterable[FormField], said: Mapping[str, str]) -> Group:
    key = f"{path}.{at}"
    fields = tuple(one for one in bound if one.name.startswith(key + "."))
    return Group(Heading(key, f"{title_of(path)} {at + 1}"), fields, said.get(group_id(key), ""))


def new_item(path: str, places: Places) -> Group:
    """The item that the button "Add a …" adds; the browser numbers it."""
    fields = [
        bind(name, setting, forms.EMPTY, places)
        for name, setting in forms.names({path: 1})
        if numbered().match(name)
    ]
    return _item(path, 0, fields, {})


def _part(title: str, fields: tuple[FormField, ...]) -> Part:
    """A part is hidden with its fields if all of them depend on the same choices."""
    when = {one.when for one in fields}
    return Part(
        title, fields, when.pop() if len(when) == 1 else "", any(one.shown for one in fields)
    )
