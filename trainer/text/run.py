"""Start and resume language-model runs: `trainer.engine.run` with the text method and errors."""

from __future__ import annotations

from pathlib import Path

from trainer.engine import run
from trainer.engine.outcome import Failure, RunRefused, sentence_of
from trainer.engine.run import Modality
from trainer.text.language.models import ModelError
from trainer.text.mechanisms import CodeError
from trainer.text.objectives.divergences import InfiniteDivergence
from trainer.text.problems import ProblemError
from trainer.text.training.distillation import Distillation
from trainer.text.verifiers import VerifierError


def explain_error(error: Exception) -> Failure | None:
    """The reason and remedy of an error of models, problems, verifiers or mechanisms, else None."""
    if isinstance(error, ModelError | ProblemError):
        return RunRefused(
            sentence_of(error), "Correct the data or the networks of the run and start again."
        )
    if isinstance(error, InfiniteDivergence):
        return RunRefused(
            sentence_of(error),
            "Choose networks that can write the same tokens, or an objective that stays finite: "
            "jsd with β between 0 and 1, or skewed_kl with α above 0.",
        )
    if isinstance(error, CodeError):
        return RunRefused(sentence_of(error), "Correct the code of the mechanism and start again.")
    if isinstance(error, VerifierError):
        return Failure(sentence_of(error), "Resume the run once the verifier's process can start.")
    return None


TEXT = Modality(Distillation, explain_error)


def start(spec_path: Path, run_dir: Path, attempt: int | None = None) -> int:
    """As `trainer.engine.run.start`."""
    return run.start(TEXT, spec_path, run_dir, attempt)


def resume(
    run_dir: Path,
    attempt: int | None = None,
    checkpoint: Path | None = None,
    from_scratch: bool = False,
) -> int:
    """As `trainer.engine.run.resume`."""
    return run.resume(TEXT, run_dir, attempt, checkpoint, from_scratch)
