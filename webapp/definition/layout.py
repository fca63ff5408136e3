"""Layout of the new-run page: groups of fields, each issue beside the field that can fix it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainer.spec import Pool, SpecIssue, Weighting
from trainer.spec.fields.field_list import Heading
from trainer.spec.fields.section_tree import sections
from webapp.definition import run_form as forms
from webapp.definition.fields_from_spec import item_prefix, list_paths
from webapp.definition.form_field import FormField, LocationChoices, bind, conditions_json
from webapp.definition.run_form import FormData

# The group of the settings under no heading of the definition.
BASICS = Heading("run", "Run")


def weighted_choices() -> Mapping[str, tuple[str, ...]]:
    """Return the choices under which there is a curve w(p): problems count by their pass rates."""
    weightings = sections(Pool.model_fields["weighting"].annotation)
    return {
        "pool.estimate": ("before",),
        "pool.weighting.kind": tuple(
            kind
            for kind, section in weightings.items()
            if issubclass(section, Weighting) and section.uses_pass_rates
        ),
    }


@dataclass(frozen=True)
class Subgroup:
    """Fields of a group under one subheading, or those under none (`title` is empty).

    `when` is the condition, as JSON, that all of its fields share; it hides the subgroup as a
    whole.
    """

    title: str
    fields: tuple[FormField, ...]
    when: str
    applies: bool

    @property
    def expert(self) -> bool:
        return all(field.expert for field in self.fields)


@dataclass(frozen=True)
class FieldGroup:
    """The fields under one heading, and the error about the group as a whole."""

    heading: Heading
    fields: tuple[FormField, ...]
    error: str = ""

    @property
    def id(self) -> str:
        return group_id(self.heading.key)

    @property
    def expert(self) -> bool:
        return all(field.expert for field in self.fields)

    @property
    def subgroups(self) -> list[Subgroup]:
        titles = dict.fromkeys(["", *(field.subheading for field in self.fields)])
        return [self._subgroup(title) for title in titles]

    def _subgroup(self, title: str) -> Subgroup:
        fields = tuple(field for field in self.fields if field.subheading == title)
        conditions = {field.when for field in fields}
        # Hidden as a whole only if all its fields are hidden together; otherwise the subheading
        # would vanish above a field that is shown.
        shared = conditions.pop() if len(conditions) == 1 else ""
        return Subgroup(title, fields, shared, any(field.applies for field in fields))


@dataclass(frozen=True)
class PlacedIssue:
    """An issue, and the id and label of the element on the page beside which it is shown."""

    message: str
    target: str
    label: str

    @property
    def sentence(self) -> str:
        """The message as shown beside its field: "must be at least 1" → "Must be at least 1."."""
        sentence = self.message[:1].upper() + self.message[1:]
        return sentence if sentence.endswith((".", "?", "!")) else sentence + "."


@dataclass(frozen=True)
class SectionList:
    """A list of sections: its items, a template for a new one, and the error about the list."""

    path: str
    items: tuple[FieldGroup, ...]
    new: FieldGroup
    error: str

    @property
    def id(self) -> str:
        return group_id(self.path)

    @property
    def path_id(self) -> str:
        return self.path.replace(".", "-")

    @property
    def title(self) -> str:
        return item_title(self.path)

    @property
    def noun(self) -> str:
        return self.title.lower()

    @property
    def expert(self) -> bool:
        """Whether only the expert mode shows it: it is empty and a new item is for experts."""
        return not self.items and self.new.expert


@dataclass(frozen=True)
class RunLayout:
    """Everything that the new-run page shows of a form."""

    groups: dict[str, FieldGroup]
    lists: dict[str, SectionList]
    issues: tuple[PlacedIssue, ...]
    has_curve: bool
    fields: tuple[FormField, ...]

    def placed(self, issues: Sequence[SpecIssue]) -> tuple[PlacedIssue, ...]:
        """Return further issues with the elements beside which they are shown."""
        return place_issues(issues, self.fields)

    @property
    def stages(self) -> SectionList:
        return self.lists["stages"]

    @property
    def specialists(self) -> SectionList:
        return self.lists["networks.specialists"]

    @property
    def basics(self) -> FieldGroup:
        return self.groups[BASICS.key]

    @property
    def pool(self) -> FieldGroup:
        return self.groups["pool"]

    @property
    def curve_when(self) -> str:
        return conditions_json(weighted_choices())

    @property
    def networks(self) -> list[FieldGroup]:
        return self._in_section("networks")

    @property
    def data(self) -> list[FieldGroup]:
        return self._in_section("data")

    @property
    def others(self) -> list[FieldGroup]:
        """Sections without a layout of their own."""
        return [
            group
            for key, group in self.groups.items()
            if key.split(".")[0] not in (BASICS.key, "pool", "networks", "data")
        ]

    def _in_section(self, section: str) -> list[FieldGroup]:
        return [group for key, group in self.groups.items() if key.split(".")[0] == section]


def build_layout(
    form: FormData, issues: Sequence[SpecIssue], locations: LocationChoices
) -> RunLayout:
    """Return the layout of a normalised form with its issues."""
    counts = forms.item_counts(form)
    fields = [bind(name, setting, form, locations) for name, setting in forms.field_names(counts)]
    placed = place_issues(issues, fields)
    errors = errors_by_target(placed)
    fields = [replace(field, error=errors.get(field.id, "")) for field in fields]
    return RunLayout(
        groups={group.heading.key: group for group in field_groups(fields, errors, BASICS)},
        lists={
            path: SectionList(
                path,
                tuple(_item(path, index, fields, errors) for index in range(counts[path])),
                new_item(path, locations),
                errors.get(group_id(path), ""),
            )
            for path in list_paths()
        },
        issues=placed,
        has_curve=forms.conditions_hold(weighted_choices(), form),
        fields=tuple(fields),
    )


def place_issues(
    issues: Sequence[SpecIssue], fields: Sequence[FormField], basics: Heading = BASICS
) -> tuple[PlacedIssue, ...]:
    """Return each issue with the element beside which it is shown."""
    groups = field_groups(fields, {}, basics)
    labels = (
        {field.id: field_label(field) for field in fields}
        | {group.id: group.heading.title for group in groups if group.heading != basics}
        | {group_id(path): item_title(path) + "s" for path in list_paths()}
    )
    targets = [_target(issue.path, fields, groups, basics) for issue in issues]
    return tuple(
        # Beside `basics` are issues of the whole definition, and of names that no field has.
        PlacedIssue(issue.message, target, labels.get(target, issue.path or basics.title))
        for issue, target in zip(issues, targets, strict=True)
    )


def errors_by_target(issues: Iterable[PlacedIssue]) -> dict[str, str]:
    """Return the sentences shown beside each element, by its id."""
    errors: dict[str, str] = {}
    for issue in issues:
        errors[issue.target] = f"{errors.get(issue.target, '')} {issue.sentence}".lstrip()
    return errors


def field_groups(
    fields: Iterable[FormField], errors: Mapping[str, str], basics: Heading
) -> tuple[FieldGroup, ...]:
    """Return the fields outside lists under their headings; those under none are in `basics`."""
    fields_by_heading: dict[Heading, list[FormField]] = {}
    for field in fields:
        if not item_prefix().match(field.name):
            fields_by_heading.setdefault(field.info.heading or basics, []).append(field)
    return tuple(
        FieldGroup(heading, tuple(members), errors.get(group_id(heading.key), ""))
        for heading, members in fields_by_heading.items()
    )


def group_id(key: str) -> str:
    return "group-" + key.replace(".", "-")


def item_title(path: str) -> str:
    """Return what an item of a list is called: "Stage", "Specialist"."""
    return path.rpartition(".")[2].removesuffix("s").capitalize()


def field_label(field: FormField) -> str:
    """Return the field's title, after its item if it is in a list: "Stage 2, Steps"."""
    item = item_prefix().match(field.name)
    return f"{item_title(item[1])} {int(item[2]) + 1}, {field.title}" if item else field.title


def _target(
    path: str, fields: Iterable[FormField], groups: Sequence[FieldGroup], basics: Heading
) -> str:
    """Return the id of the element at this path or above it.

    It is a field, the choice that opens a section, or the group of a section's fields.
    """
    # A field that does not apply is hidden, so an issue beside it would not be seen.
    id_by_name = {field.name: field.id for field in fields if field.applies}
    ancestor = path
    while ancestor:
        if field_id := id_by_name.get(ancestor) or id_by_name.get(f"{ancestor}.kind"):
            return field_id
        if ancestor in list_paths() or item_prefix().fullmatch(f"{ancestor}."):
            return group_id(ancestor)
        for group in groups:
            names = [field.name for field in group.fields if field.applies]
            if any(name.rpartition(".")[0] == ancestor for name in names):
                return group.id
        ancestor = ancestor.rpartition(".")[0]
    return group_id(basics.key)


def _item(
    path: str, index: int, fields: Iterable[FormField], errors: Mapping[str, str]
) -> FieldGroup:
    key = f"{path}.{index}"
    item_fields = tuple(field for field in fields if field.name.startswith(key + "."))
    heading = Heading(key, f"{item_title(path)} {index + 1}")
    return FieldGroup(heading, item_fields, errors.get(group_id(key), ""))


def new_item(path: str, locations: LocationChoices) -> FieldGroup:
    """Return the item that the button "Add a …" adds; the browser numbers it."""
    fields = [
        bind(name, setting, forms.EMPTY, locations)
        for name, setting in forms.field_names({path: 1})
        if item_prefix().match(name)
    ]
    return _item(path, 0, fields, {})
