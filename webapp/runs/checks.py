"""What only the server can see to be wrong with a definition: what its names lead to, and whether these things go together.

The trainer checks all of it again before its first step; here it is said while the form is still open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainer.spec import ArithmeticProblems, FileProblems, Problem, RunSpec, SplitProblems
from trainer.spec.sampling import Sampling
from trainer.text.problems import ProblemError, ProblemSet, selection
from webapp.runs import model_files, places, pools
from webapp.runs.model_files import Folder, ModelFacts, UnusableModel
from webapp.runs.outlook import Known
from webapp.runs.places import Nowhere
from webapp.teams.models import Team

ROLES = ("student", "teacher")


@dataclass
class Findings:
    """Complaints beside fields, remarks that are none, and what the estimate needs."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: dict[str, ModelFacts | None] = field(default_factory=dict)
    counts: dict[str, int | None] = field(default_factory=dict)

    @property
    def known(self) -> Known:
        return Known(self.models, self.counts)


def look_around(spec: RunSpec, team: Team) -> Findings:
    """Follow every name in a valid definition."""
    findings = Findings()
    folders = {role: _model(spec, role, team, findings) for role in ROLES}
    if folders["student"] and folders["teacher"]:
        findings.problems += _tokenizers(folders["student"], folders["teacher"])
    findings.problems += [problem for role in ROLES for problem in _lengths(spec, role, findings.models.get(role))]
    _data(spec, team, findings)
    return findings


def _model(spec: RunSpec, role: str, team: Team, findings: Findings) -> Folder | None:
    """The files of a role's model, if they are here and usable."""
    network = getattr(spec.networks, role)
    path = f"networks.{role}.model"
    try:
        folder = places.model_folder(network.model, team)
        findings.models[role] = model_files.facts(folder) if folder is not None else None
        if folder is not None:
            _require_usable(folder, weights=not network.random_init)
    except (Nowhere, UnusableModel) as error:
        findings.problems.append(Problem(path, str(error)))
        return None
    if folder is None:
        findings.notes.append(f"The {role} is a model of the hub: its size, tokenizer and longest text are checked when the run starts.")
    return folder


def _require_usable(folder: Folder, weights: bool) -> None:
    if weights and not any(name.endswith(model_files.WEIGHTS) for name in folder):
        if any(name.endswith(model_files.PICKLED) for name in folder):
            raise UnusableModel("has pickled weights only, which can run any program when opened; save the model as safetensors")
        raise UnusableModel("has no *.safetensors weights; add them, or ask for random weights")
    if not folder.keys() & set(model_files.TOKENIZERS):
        raise UnusableModel("has no tokenizer; copy the model's tokenizer.json into its folder")


def _tokenizers(student: Folder, teacher: Folder) -> Iterator[Problem]:
    try:
        ours, theirs = model_files.vocabulary(student), model_files.vocabulary(teacher)
    except UnusableModel:
        return  # said beside the model already
    if ours and theirs and (said := model_files.difference(ours, theirs)):
        message = f"has another tokenizer than the student: {said}. Choose a teacher with the student's tokenizer"
        yield Problem("networks.teacher.model", message)


def _lengths(spec: RunSpec, role: str, facts: ModelFacts | None) -> Iterator[Problem]:
    if facts is None or facts.max_length is None:
        return
    for path, sampling in _samplings(spec, role):
        if sampling.max_new_tokens >= facts.max_length:
            message = (
                f"is {sampling.max_new_tokens:,}, but the {role} reads at most {facts.max_length:,} tokens, question included; lower it"
            )
            yield Problem(f"{path}.max_new_tokens", message)


def _samplings(spec: RunSpec, role: str) -> Iterator[tuple[str, Sampling]]:
    """Where a role's answers are drawn or read."""
    if role == "student":
        yield "pool.sampling", spec.pool.sampling
        yield "evaluation.sampling", spec.evaluation.sampling
    for at, stage in enumerate(spec.stages):
        if role == "student" or stage.source == "teacher_written":
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
            except (Nowhere, ProblemError) as error:
                findings.problems.append(Problem(f"data.{role}.{'path' if isinstance(source, FileProblems) else 'count'}", str(error)))
    findings.problems += _leakage(spec, found)
    if len(found) < sum(1 for role in ("train", "evaluation", "retained") if _is_own(spec, role)):
        findings.notes.append(
            "Some problems are too many, or too far away, to be compared here: the run compares them before its first step."
        )


def _is_own(spec: RunSpec, role: str) -> bool:
    return isinstance(getattr(spec.data, role), ArithmeticProblems | FileProblems)


def _leakage(spec: RunSpec, found: Mapping[str, ProblemSet]) -> Iterator[Problem]:
    """Problems that are trained on and measured too, and held-out shares that leave nothing."""
    train = found.get("train")
    if train is None:
        return
    if isinstance(spec.data.evaluation, SplitProblems) and not all(
        selection.split(train.items, spec.data.evaluation.share, spec.data.train.seed)
    ):
        yield Problem("data.evaluation.share", f"leaves nothing to train on or nothing to measure, of {len(train):,} problems; change it")
    for role, words in (("evaluation", "held-out"), ("retained", "retained")):
        try:
            selection.check_disjoint(train.items, found[role].items if role in found else (), words)
        except ProblemError as error:
            yield Problem(f"data.{role}", str(error))
