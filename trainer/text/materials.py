"""What a text run works with, loaded and checked: the two networks, the verifier and the problems as questions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trainer.spec import Network, RunSpec
from trainer.text import problems
from trainer.text.answers import Examiner, Question
from trainer.text.chat import check_length
from trainer.text.models import LanguageModel, load
from trainer.text.problems import ProblemSet
from trainer.text.tokenizers import require_same_vocabulary
from trainer.text.verifiers import Verifier


@dataclass(frozen=True)
class Materials:
    """`vocabulary` is the number of token ids that both networks share. Questions follow the order of their problem sets."""

    student: LanguageModel
    teacher: LanguageModel
    vocabulary: int
    examiner: Examiner
    sets: dict[str, ProblemSet]
    train: list[Question]
    evaluation: list[Question]
    retained: list[Question]


def gather(spec: RunSpec, device: torch.device, stack: ExitStack) -> Materials:
    """Load everything that a run names; `stack` closes the verifier. Raises ModelError and ProblemError."""
    found = problems.load_all(spec.data)
    sets = {"train": found.train, "evaluation": found.evaluation, **({"retained": found.retained} if found.retained else {})}
    student = _trained(spec.networks.student, spec.seed, device)
    teacher = load(spec.networks.teacher, spec.seed + 1, device)
    teacher.model.requires_grad_(False)
    vocabulary = require_same_vocabulary(student, teacher)
    verifier = stack.enter_context(Verifier(spec.data.verifier, spec.data.verifier_seconds))
    examiner = Examiner(verifier, spec.data.prompt, spec.compute.generation_rows)
    pool_longest = max([spec.pool.sampling.max_new_tokens, *(stage.rollouts.generate.sampling.max_new_tokens for stage in spec.stages)])
    held_out_longest = spec.evaluation.sampling.max_new_tokens

    def asked(role: str, longest: int) -> list[Question]:
        if role not in sets:
            return []
        questions = examiner.questions(student, sets[role].items, longest)
        check_length(teacher, max((question.prompt for question in questions), key=len, default=()), longest)
        return questions

    return Materials(
        student, teacher, vocabulary, examiner, sets,
        asked("train", pool_longest), asked("evaluation", held_out_longest), asked("retained", held_out_longest),
    )  # fmt: skip


def _trained(network: Network, seed: int, device: torch.device) -> LanguageModel:
    """The student. bfloat16 means that updates compute in it: weights, moments and gradients are held, and answers sampled, in float32."""
    held = "float32" if network.dtype == "bfloat16" else network.dtype
    return load(network.model_copy(update={"dtype": held}), seed, device)


def description(model: LanguageModel) -> dict[str, bytes]:
    """What a model folder holds beside its weights: configuration and tokenizer files, by name."""
    with TemporaryDirectory() as folder:
        model.model.config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
