"""Checks of a run definition against what it names, which only the server can see.

The trainer checks all of it again before its first step; here the issues are shown while the form
is still open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from trainer.spec import FileProblems, RunSpec, SpecIssue
from trainer.spec.networks import (
    EndpointTeacher,
    ModelTeacher,
    Network,
    ServedTeacher,
    TextTeacher,
)
from trainer.spec.rules.served import served_teachers
from trainer.spec.sampling import Sampling
from webapp.access import secrets
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition import problem_sources
from webapp.definition.estimate import ReferenceFacts
from webapp.library import locations, model_files
from webapp.library.locations import LocationError
from webapp.library.model_files import Folder, ModelFacts, UnusableModel

STUDENT, TEACHER = "networks.student", "networks.teacher"
PICKLED_ONLY = (
    "has pickled weights only, which can run any program when opened; save the model as safetensors"
)
HUB_MODEL_NOTE = (
    "The {network} is a model of the hub: its size, tokenizer and longest text are checked when "
    "the run starts."
)
HELD_OUT_SET = (
    "is a held-out set of the team, which no run is trained on; choose another one, or allow "
    "training on it on its page"
)
NOT_COMPARED_NOTE = (
    "Some problems are too many or too large to compare here: the run compares them before its "
    "first step."
)


@dataclass
class ReferenceReport:
    """Issues shown beside fields, notes that block nothing, and the facts for the estimate."""

    issues: list[SpecIssue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: dict[str, ModelFacts | None] = field(default_factory=dict)
    problem_counts: dict[str, int | None] = field(default_factory=dict)

    @property
    def facts(self) -> ReferenceFacts:
        return ReferenceFacts(self.models, self.problem_counts)


def validate_references(spec: RunSpec, team: Team) -> ReferenceReport:
    """Check every model, file and endpoint that a valid definition names."""
    report = ReferenceReport()
    networks = _loaded_networks(spec)
    for path, network in networks.items():
        _check_model(path, network, team, report)
        report.issues += _check_lengths(spec, path, report.models.get(path))
    report.issues += _check_text_teacher(spec, team)
    for path, teacher in served_teachers(spec):
        report.issues += _check_served_teacher(path, teacher, team)
    _check_data(spec, team, report)
    return report


def held_out_refusal(spec: RunSpec, team: Team) -> str:
    """Return why no run may be trained on the problems of a definition; "" if one may."""
    train = spec.data.train
    is_held_out = isinstance(train, FileProblems) and _is_held_out(train, team)
    return f"The training set {HELD_OUT_SET}." if is_held_out else ""


def _loaded_networks(spec: RunSpec) -> dict[str, Network]:
    """Return the networks that the worker loads, by their path in the definition."""
    networks: dict[str, Network] = {STUDENT: spec.networks.student}
    if isinstance(spec.networks.teacher, ModelTeacher):
        networks[TEACHER] = spec.networks.teacher
    for index, specialist in enumerate(spec.networks.specialists):
        if isinstance(specialist.teacher, ModelTeacher):
            networks[f"networks.specialists.{index}.teacher"] = specialist.teacher
    return networks


def _network_noun(path: str) -> str:
    return "specialist" if "specialists" in path else path.rpartition(".")[2]


def _check_model(path: str, network: Network, team: Team, report: ReferenceReport) -> None:
    """Check that a network's model is usable, if the server has its files."""
    try:
        folder = locations.model_folder(network.model, team)
        report.models[path] = locations.model_facts(network.model, team)
        if folder is not None:
            _require_usable(folder, weights=not network.random_init)
    except (LocationError, UnusableModel) as error:
        report.issues.append(SpecIssue(f"{path}.model", str(error)))
        return
    if folder is None:
        report.notes.append(HUB_MODEL_NOTE.format(network=_network_noun(path)))


def _require_usable(folder: Folder, weights: bool) -> None:
    """Raise UnusableModel if the folder lacks a tokenizer or, where needed, safe weights."""
    if weights and not any(name.endswith(model_files.WEIGHTS) for name in folder):
        if any(name.endswith(model_files.PICKLED) for name in folder):
            raise UnusableModel(PICKLED_ONLY)
        raise UnusableModel("has no *.safetensors weights; add them, or ask for random weights")
    if not folder.keys() & set(model_files.TOKENIZERS):
        raise UnusableModel("has no tokenizer; copy the model's tokenizer.json into its folder")


def _check_text_teacher(spec: RunSpec, team: Team) -> Iterator[SpecIssue]:
    """Check that the text teacher's file exists, or its endpoint and secret are allowed."""
    teacher = spec.networks.teacher
    if isinstance(teacher, EndpointTeacher):
        if not endpoints.is_allowed(teacher.url):
            yield SpecIssue(f"{TEACHER}.url", endpoints.refusal())
        if problem := secrets.refusal(teacher.key, team):
            yield SpecIssue(f"{TEACHER}.key", problem)
    if isinstance(teacher, TextTeacher):
        try:
            locations.data_path(teacher.path, team)
        except LocationError as error:
            yield SpecIssue(f"{TEACHER}.path", str(error))


def _check_served_teacher(path: str, teacher: ServedTeacher, team: Team) -> Iterator[SpecIssue]:
    """Check that the team may ask the servers, and that the named models exist."""
    if not all(map(endpoints.is_allowed, teacher.urls)):
        yield SpecIssue(f"{path}.urls", endpoints.refusal())
    if problem := secrets.refusal(teacher.key, team):
        yield SpecIssue(f"{path}.key", problem)
    for setting, uri in teacher.local_models.items():
        try:
            locations.model_facts(uri, team)
        except (LocationError, UnusableModel) as error:
            yield SpecIssue(f"{path}.{setting}", str(error))


def _check_lengths(spec: RunSpec, path: str, facts: ModelFacts | None) -> Iterator[SpecIssue]:
    """Check that the answers fit into the longest text that a network reads."""
    if facts is None or facts.max_length is None:
        return
    # An answer that fills the whole length would leave no room for the question, hence `>=` below.
    limit = f"the {_network_noun(path)} reads at most {facts.max_length:,} tokens"
    for sampling_path, sampling in _samplings(spec, path):
        if sampling.max_new_tokens >= facts.max_length:
            yield SpecIssue(
                f"{sampling_path}.max_new_tokens",
                f"is {sampling.max_new_tokens:,}, but {limit}, question included; "
                "lower it or choose another model",
            )


def _samplings(spec: RunSpec, path: str) -> Iterator[tuple[str, Sampling]]:
    """Yield (path, sampling) of all answers that the network at `path` writes or reads."""
    if path == STUDENT:
        yield "pool.sampling", spec.pool.sampling
        yield "evaluation.sampling", spec.evaluation.sampling
    for index, stage in enumerate(spec.stages):
        if path == STUDENT or stage.source == "teacher_written":
            yield f"stages.{index}.rollouts.generate.sampling", stage.rollouts.generate.sampling


def _check_data(spec: RunSpec, team: Team, report: ReferenceReport) -> None:
    role, train = "train", spec.data.train
    if isinstance(train, FileProblems) and _is_held_out(train, team):
        report.issues.append(SpecIssue(f"data.{role}.path", HELD_OUT_SET))
        return
    problems = problem_sources.check(spec, team)
    report.issues += problems.issues
    report.problem_counts |= problems.counts
    if not problems.is_complete:
        report.notes.append(NOT_COMPARED_NOTE)


def _is_held_out(source: FileProblems, team: Team) -> bool:
    """Return whether it is a data set that is measured on and never trained on."""
    try:
        data = locations.data_set(source.path, team)
    except LocationError:
        return False
    return data is not None and data.is_held_out
