"""Checks of a run definition against what it names, which only the server can see.

The trainer checks all of it again before its first step; here the issues are shown while the form
is still open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainer.spec import ArithmeticProblems, FileProblems, RunSpec, SpecIssue, SplitProblems
from trainer.spec.networks import EndpointTeacher, ModelTeacher, Network, TextTeacher
from trainer.spec.sampling import Sampling
from trainer.text.problems import ProblemError, ProblemSet, selection
from webapp.access import secrets
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition import problem_sources
from webapp.definition.estimate import ReferenceFacts
from webapp.library import locations, model_files, model_reader
from webapp.library.locations import LocationError
from webapp.library.model_files import Folder, ModelFacts, UnusableModel

STUDENT, TEACHER = "networks.student", "networks.teacher"
ROLES = ("train", "evaluation", "retained")
DIFFERENT_TOKENIZER = (
    "A divergence compares the two token by token: choose a teacher with the student's tokenizer, "
    "or train with cross-entropy on answers that it wrote, from a file or an endpoint"
)
PICKLED_ONLY = (
    "has pickled weights only, which can run any program when opened; save the model as safetensors"
)
HUB_MODEL_NOTE = (
    "The {network} is a model of the hub: its size, tokenizer and longest text are checked when "
    "the run starts."
)
NOT_COMPARED_NOTE = (
    "Some problems are too many or too large to compare here: the run compares them before its "
    "first step."
)

# Domains listed in one message, so that it stays readable.
MOST_LISTED_DOMAINS = 12


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
    folders = {
        path: _check_model(path, network, team, report) for path, network in networks.items()
    }
    report.issues += _check_tokenizers(spec, folders)
    for path in networks:
        report.issues += _check_lengths(spec, path, report.models.get(path))
    report.issues += _check_text_teacher(spec, team)
    _check_data(spec, team, report)
    return report


def _loaded_networks(spec: RunSpec) -> dict[str, Network]:
    """Return the networks that the worker loads, by their path in the definition."""
    networks: dict[str, Network] = {STUDENT: spec.networks.student}
    if isinstance(spec.networks.teacher, ModelTeacher):
        networks[TEACHER] = spec.networks.teacher
    for index, specialist in enumerate(spec.networks.specialists):
        networks[f"networks.specialists.{index}.teacher"] = specialist.teacher
    return networks


def _network_noun(path: str) -> str:
    return "specialist" if "specialists" in path else path.rpartition(".")[2]


def _check_model(path: str, network: Network, team: Team, report: ReferenceReport) -> Folder | None:
    """Return the files of a network's model, if the server has them and they are usable."""
    try:
        folder = locations.model_folder(network.model, team)
        report.models[path] = locations.model_facts(network.model, team)
        if folder is not None:
            _require_usable(folder, weights=not network.random_init)
    except (LocationError, UnusableModel) as error:
        report.issues.append(SpecIssue(f"{path}.model", str(error)))
        return None
    if folder is None:
        report.notes.append(HUB_MODEL_NOTE.format(network=_network_noun(path)))
    return folder


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


def _check_tokenizers(spec: RunSpec, folders: Mapping[str, Folder | None]) -> Iterator[SpecIssue]:
    """Check that teachers share the student's tokens where a divergence compares token by token."""
    student = folders[STUDENT]
    if student is None or not any(stage.objective.compares_with_teacher for stage in spec.stages):
        return
    for path, folder in folders.items():
        if path != STUDENT and folder is not None:
            try:
                difference = model_reader.vocabulary_difference(student, folder)
            except UnusableModel:
                # Reported beside the model already.
                continue
            if difference:
                message = f"has another tokenizer than the student: {difference}."
                yield SpecIssue(f"{path}.model", f"{message} {DIFFERENT_TOKENIZER}")


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
    sources = {
        role: source
        for role in ROLES
        if isinstance(source := getattr(spec.data, role), ArithmeticProblems | FileProblems)
    }
    problems: dict[str, ProblemSet] = {}
    for role, source in sources.items():
        try:
            if role == "train" and isinstance(source, FileProblems):
                _require_trainable(source, team)
            problem_set = problem_sources.read(source, team)
            # Without the problems the estimate still needs their number, which a row may know.
            if problem_set:
                problems[role] = problem_set
                report.problem_counts[role] = len(problem_set)
            else:
                report.problem_counts[role] = problem_sources.known_count(source, team)
        except (LocationError, ProblemError) as error:
            setting = "path" if isinstance(source, FileProblems) else "count"
            report.issues.append(SpecIssue(f"data.{role}.{setting}", str(error)))
    report.issues += _check_overlap(spec, problems)
    report.issues += _check_specialists(spec, problems.get("train"))
    if len(problems) < len(sources):
        report.notes.append(NOT_COMPARED_NOTE)


def _require_trainable(source: FileProblems, team: Team) -> None:
    """Raise LocationError if the data set is one that is measured on."""
    data = locations.data_set(source.path, team)
    if data is not None and data.is_held_out:
        raise LocationError(
            "is a held-out set of the team, which no run is trained on; choose another one, or "
            "allow training on it on its page"
        )


def _check_specialists(spec: RunSpec, train: ProblemSet | None) -> Iterator[SpecIssue]:
    """Check that each specialist has training problems.

    The domain of a problem of built-in arithmetic is its family.
    """
    source = spec.data.train
    items = train.items if train else ()
    domains = (
        set(source.families)
        if isinstance(source, ArithmeticProblems)
        else {problem.domain for problem in items} - {""}
    )
    for index, specialist in enumerate(spec.networks.specialists):
        unused = [domain for domain in specialist.domains if domain not in domains]
        if domains and unused:
            listed = ", ".join(sorted(domains)[:MOST_LISTED_DOMAINS])
            yield SpecIssue(
                f"networks.specialists.{index}.domains",
                f"names {unused[0]}, which no training problem has; they have {listed}",
            )


def _check_overlap(spec: RunSpec, problems: Mapping[str, ProblemSet]) -> Iterator[SpecIssue]:
    """Check that no problem is trained on and measured, and that a split leaves some of each."""
    train = problems.get("train")
    if train is None:
        return
    if isinstance(spec.data.evaluation, SplitProblems) and not all(
        selection.split(train.items, spec.data.evaluation.share, spec.data.train.seed)
    ):
        yield SpecIssue(
            "data.evaluation.share",
            "leaves nothing to train on or nothing to measure, "
            f"of {len(train):,} problems; change it",
        )
    for role, adjective in (("evaluation", "held-out"), ("retained", "retained")):
        try:
            items = problems[role].items if role in problems else ()
            selection.check_disjoint(train.items, items, adjective)
        except ProblemError as error:
            yield SpecIssue(f"data.{role}", str(error))
