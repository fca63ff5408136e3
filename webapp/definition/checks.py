"""What only the server can see to be wrong with a definition: what its names lead to, and whether
these things go together.

The trainer checks all of it again before its first step; here it is said while the form is still
open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainer.spec import ArithmeticProblems, FileProblems, RunSpec, SpecIssue, SplitProblems
from trainer.spec.networks import EndpointTeacher, ModelTeacher, Network, TextTeacher
from trainer.spec.rules.stages import needs_probabilities
from trainer.spec.sampling import Sampling
from trainer.text.problems import ProblemError, ProblemSet, selection
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition import pools
from webapp.definition.estimate import Known
from webapp.library import locations, model_files
from webapp.library.locations import LocationError
from webapp.library.model_files import Folder, ModelFacts, UnusableModel

STUDENT, TEACHER = "networks.student", "networks.teacher"
OTHER_TOKENIZER = (
    "A divergence compares the two token by token: choose a teacher with the student's tokenizer, or train on answers that it wrote, "
    "from a file or an endpoint, with cross-entropy"
)

NAMED = 12


@dataclass
class Findings:
    """Complaints beside fields, remarks that are none, and what the estimate needs."""

    issues: list[SpecIssue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: dict[str, ModelFacts | None] = field(default_factory=dict)
    counts: dict[str, int | None] = field(default_factory=dict)

    @property
    def known(self) -> Known:
        return Known(self.models, self.counts)


def look_around(spec: RunSpec, team: Team) -> Findings:
    """Follow every name in a valid definition."""
    findings = Findings()
    loaded = _loaded(spec)
    folders = {path: _model(path, network, team, findings) for path, network in loaded.items()}
    findings.issues += _tokenizers(spec, folders)
    findings.issues += [
        issue for path in loaded for issue in _lengths(spec, path, findings.models.get(path))
    ]
    findings.issues += _texts(spec, team)
    _data(spec, team, findings)
    return findings


def _loaded(spec: RunSpec) -> dict[str, Network]:
    """The networks that the worker loads, by their path in the definition."""
    networks = spec.networks
    found: dict[str, Network] = {STUDENT: networks.student}
    if isinstance(networks.teacher, ModelTeacher):
        found[TEACHER] = networks.teacher
    return found | {
        f"networks.specialists.{at}.teacher": one.teacher
        for at, one in enumerate(networks.specialists)
    }


def _called(path: str) -> str:
    return "specialist" if "specialists" in path else path.rpartition(".")[2]


def _model(path: str, network: Network, team: Team, findings: Findings) -> Folder | None:
    """The files of a network's model, if they are here and usable."""
    try:
        folder = locations.model_folder(network.model, team)
        findings.models[path] = model_files.facts(folder) if folder is not None else None
        if folder is not None:
            _require_usable(folder, weights=not network.random_init)
    except (LocationError, UnusableModel) as error:
        findings.issues.append(SpecIssue(f"{path}.model", str(error)))
        return None
    if folder is None:
        text = f"The {_called(path)} is a model of the hub: its size, tokenizer and longest text are checked when the run starts."
        findings.notes.append(text)
    return folder


def _texts(spec: RunSpec, team: Team) -> Iterator[SpecIssue]:
    """A teacher of whom only texts are known: its file must be there, its endpoint allowed."""
    teacher = spec.networks.teacher
    if isinstance(teacher, EndpointTeacher) and not endpoints.is_allowed(teacher.url):
        yield SpecIssue(f"{TEACHER}.url", endpoints.refusal())
    if isinstance(teacher, TextTeacher):
        try:
            locations.data_path(teacher.path, team)
        except LocationError as error:
            yield SpecIssue(f"{TEACHER}.path", str(error))


def _require_usable(folder: Folder, weights: bool) -> None:
    if weights and not any(name.endswith(model_files.WEIGHTS) for name in folder):
        if any(name.endswith(model_files.PICKLED) for name in folder):
            raise UnusableModel(
                "has pickled weights only, which can run any program when opened; save the model as safetensors"
            )
        raise UnusableModel("has no *.safetensors weights; add them, or ask for random weights")
    if not folder.keys() & set(model_files.TOKENIZERS):
        raise UnusableModel("has no tokenizer; copy the model's tokenizer.json into its folder")


def _tokenizers(spec: RunSpec, folders: Mapping[str, Folder | None]) -> Iterator[SpecIssue]:
    """Teachers whose tokens are not the student's, where a divergence compares the two token by
    token.
    """
    student = folders[STUDENT]
    if student is None or not any(map(needs_probabilities, spec.stages)):
        return
    for path, folder in folders.items():
        if path != STUDENT and folder is not None and (said := _difference(student, folder)):
            message = f"has another tokenizer than the student: {said}. {OTHER_TOKENIZER}"
            yield SpecIssue(f"{path}.model", message)


def _difference(student: Folder, teacher: Folder) -> str:
    try:
        ours, theirs = model_files.vocabulary(student), model_files.vocabulary(teacher)
    except UnusableModel:
        return ""  # said beside the model already
    return model_files.vocabulary_difference(ours, theirs) if ours and theirs else ""


def _lengths(spec: RunSpec, path: str, facts: ModelFacts | None) -> Iterator[SpecIssue]:
    if facts is None or facts.max_length is None:
        return
    for at, sampling in _samplings(spec, path):
        if sampling.max_new_tokens >= facts.max_length:
            longest = (
                f"the {_called(path)} reads at most {facts.max_length:,} tokens, question included"
            )
            yield SpecIssue(
                f"{at}.max_new_tokens",
                f"is {sampling.max_new_tokens:,}, but {longest}; lower it or choose another model",
            )


def _samplings(spec: RunSpec, path: str) -> Iterator[tuple[str, Sampling]]:
    """Where a network's answers are drawn or read."""
    if path == STUDENT:
        yield "pool.sampling", spec.pool.sampling
        yield "evaluation.sampling", spec.evaluation.sampling
    for at, stage in enumerate(spec.stages):
        if path == STUDENT or stage.source == "teacher_written":
            yield f"stages.{at}.rollouts.generate.sampling", stage.rollouts.generate.sampling


def _data(spec: RunSpec, team: Team, findings: Findings) -> None:
    found: dict[str, ProblemSet] = {}
    for role in ("train", "evaluation", "retained"):
        source = getattr(spec.data, role)
        if isinstance(source, ArithmeticProblems | FileProblems):
            try:
                problems = pools.read(source, team)
                findings.counts[role] = len(problems) if problems else pools.size(source, team)
                found |= {role: problems} if problems else {}
            except (LocationError, ProblemError) as error:
                findings.issues.append(
                    SpecIssue(
                        f"data.{role}.{'path' if isinstance(source, FileProblems) else 'count'}",
                        str(error),
                    )
                )
    findings.issues += _leakage(spec, found)
    findings.issues += _idle_specialists(spec, found.get("train"))
    if len(found) < sum(1 for role in ("train", "evaluation", "retained") if _is_own(spec, role)):
        findings.notes.append(
            "Some problems are too many, or too far away, to be compared here: the run compares them before its first step."
        )


def _idle_specialists(spec: RunSpec, train: ProblemSet | None) -> Iterator[SpecIssue]:
    """Specialists for domains that no training problem has; the domain of built-in arithmetic is
    its family.
    """
    source = spec.data.train
    items = train.items if train else ()
    domains = (
        set(source.families)
        if isinstance(source, ArithmeticProblems)
        else {problem.domain for problem in items} - {""}
    )
    for at, specialist in enumerate(spec.networks.specialists):
        idle = [domain for domain in specialist.domains if domain not in domains]
        if domains and idle:
            known = ", ".join(sorted(domains)[:NAMED])
            yield SpecIssue(
                f"networks.specialists.{at}.domains",
                f"names {idle[0]}, which no training problem has; they have {known}",
            )


def _is_own(spec: RunSpec, role: str) -> bool:
    return isinstance(getattr(spec.data, role), ArithmeticProblems | FileProblems)


def _leakage(spec: RunSpec, found: Mapping[str, ProblemSet]) -> Iterator[SpecIssue]:
    """Problems that are trained on and measured too, and held-out shares that leave nothing."""
    train = found.get("train")
    if train is None:
        return
    if isinstance(spec.data.evaluation, SplitProblems) and not all(
        selection.split(train.items, spec.data.evaluation.share, spec.data.train.seed)
    ):
        yield SpecIssue(
            "data.evaluation.share",
            f"leaves nothing to train on or nothing to measure, of {len(train):,} problems; change it",
        )
    for role, words in (("evaluation", "held-out"), ("retained", "retained")):
        try:
            selection.check_disjoint(train.items, found[role].items if role in found else (), words)
        except ProblemError as error:
            yield SpecIssue(f"data.{role}", str(error))
