"""The networks of a run without their weights: whether they open and fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from trainer.spec import CalibratedFilter, ModelTeacher, RunSpec, SelfTeacher, ServedTeacher
from trainer.spec.networks import Network
from trainer.text.calibration.tokens import require_space
from trainer.text.language.model_folders import ModelError, local_folder
from trainer.text.language.text_models import TextModel, open_text_model, open_tokenizer
from trainer.text.language.tokenizer_files import vocabulary_size
from trainer.text.preflight.reporter import Reporter
from trainer.text.teachers.teachability import (
    added_ends_note,
    compares_probabilities,
    joint_ends,
    needs_teacher,
    shares_vocabulary,
)
from trainer.text.training.problem_checks import (
    answer_limits,
    codec_of,
    require_writable_confidence,
)

STUDENT, TEACHER = "networks.student", "networks.teacher"


@dataclass
class OpenedNetworks:
    """The networks that could be opened; `teachers` by their paths in the definition.

    Of those on servers that are `served`, only the tokenizer is here.
    """

    student: TextModel | None = None
    teachers: dict[str, TextModel] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)

    def setting(self, path: str) -> str:
        """The path of the setting that names the tokenizer of the teacher at `path`."""
        return f"{path}.{'tokenizer' if path in self.served else 'model'}"


def open_networks(spec: RunSpec, reporter: Reporter) -> OpenedNetworks:
    opened = OpenedNetworks()
    opened.student = _open(STUDENT, spec.networks.student, reporter)
    for path, network in _teacher_networks(spec):
        if isinstance(network, ServedTeacher):
            opened.served.add(path)
            teacher = _open(path, network.tokenizer_network, reporter, "tokenizer")
        else:
            teacher = _open(path, network, reporter)
        if teacher:
            opened.teachers[path] = teacher
    own = spec.networks.teacher
    if opened.student and isinstance(own, SelfTeacher) and needs_teacher(spec):
        opened.teachers[TEACHER] = replace(opened.student, thinking=own.thinking)
    return opened


def check_pairs(spec: RunSpec, opened: OpenedNetworks, reporter: Reporter) -> None:
    """Check each teacher against the student: vocabulary, end tokens, chat format."""
    student = opened.student
    if student is None:
        return
    reporter.phase("comparing the tokenizers")
    for path, teacher in opened.teachers.items():
        with reporter.check("vocabulary", opened.setting(path)):
            shares_vocabulary(student, teacher, compares_probabilities(spec))
        if student.chat_template != teacher.chat_template:
            chat, plain = (
                ("student", "teacher") if student.chat_template else ("teacher", "student")
            )
            reporter.warn(
                "template",
                opened.setting(path),
                f"The {chat} is asked in its chat format and the {plain} in plain text, because "
                f"the {plain}'s tokenizer has no chat template or does not use it. The two may "
                "answer differently for that reason alone; choose models with the same format.",
            )
    if note := added_ends_note(student, ends_of(spec, opened)):
        reporter.warn("ends", f"{STUDENT}.model", note)


def ends_of(spec: RunSpec, opened: OpenedNetworks) -> tuple[int, ...]:
    """Return the end tokens of the student's answers, as the run takes them."""
    assert opened.student is not None
    sharing = []
    for teacher in opened.teachers.values():
        try:
            if shares_vocabulary(opened.student, teacher, compared=False):
                sharing.append(teacher)
        # Reported by `check_pairs` already.
        except Exception:
            continue
    return joint_ends(opened.student, sharing)


def check_confidence(spec: RunSpec, student: TextModel, reporter: Reporter) -> None:
    """Check that the student can write the confidence that its answers state."""
    codec, limits = codec_of(spec), answer_limits(spec)
    if codec is None:
        return
    reporter.phase("writing a stated confidence")
    with reporter.check("confidence", "data.confidence"):
        require_writable_confidence(codec, student, limits)
    for index, stage in enumerate(spec.stages):
        if isinstance(stage.rollouts.filter, CalibratedFilter):
            path = f"stages.{index}.rollouts.generate.sampling.max_new_tokens"
            with reporter.check("confidence", path):
                require_space(codec, student, limits.stages[index], stage.name)


def _teacher_networks(spec: RunSpec) -> Iterator[tuple[str, Network | ServedTeacher]]:
    """Yield the teachers whose tokenizers a run loads, by their paths."""
    if not needs_teacher(spec):
        return
    if isinstance(spec.networks.teacher, ModelTeacher | ServedTeacher):
        yield TEACHER, spec.networks.teacher
    for index, specialist in enumerate(spec.networks.specialists):
        yield f"networks.specialists.{index}.teacher", specialist.teacher


def noun_of(path: str) -> str:
    return "specialist" if "specialists" in path else path.rpartition(".")[2]


def _open(
    path: str,
    network: Network,
    reporter: Reporter,
    setting: Literal["model", "tokenizer"] = "model",
) -> TextModel | None:
    """Open the network that a setting of the section at `path` names."""
    noun = noun_of(path)
    reporter.phase(f"opening the {noun}'s tokenizer")
    if network.model.startswith("hub:"):
        try:
            local_folder(network.model)
        except ModelError:
            reporter.fact(
                "not_checked",
                f"{path}.{setting}",
                f"The {noun}'s tokenizer was not checked, because {network.model} is not on this "
                "machine; the run downloads and checks it before its first step.",
            )
            return None
    opened = None
    with reporter.check("model", f"{path}.{setting}"):
        opened = (
            open_tokenizer(network)
            if setting == "tokenizer"
            else open_text_model(network, frozen=path != STUDENT)
        )
        _describe(path, network, opened, reporter)
    return opened


def _describe(path: str, network: Network, opened: TextModel, reporter: Reporter) -> None:
    noun, surplus = noun_of(path), vocabulary_size(opened.tokenizer) - opened.vocabulary
    if surplus > 0:
        first = opened.tokenizer.convert_ids_to_tokens(opened.vocabulary)
        reporter.fact(
            "tokenizer",
            f"{path}.model",
            f"The {noun}'s tokenizer has {surplus:,} {'token' if surplus == 1 else 'tokens'} more "
            f"than the model embeds, the first is “{first}”; a text that has one is refused.",
        )
    if network.chat_template and not opened.tokenizer.chat_template:
        reporter.fact(
            "template",
            f"{path}.model",
            f"The {noun}'s tokenizer has no chat template, so its prompts are plain text.",
        )
