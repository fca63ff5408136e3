"""How the checks report: by severity, with errors of the run's own checks as findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainer.engine.outcome import RunRefused, sentence_of
from trainer.text.language.model_folders import ModelError
from trainer.text.preflight.findings import Finding
from trainer.text.problems import ProblemError

REFUSALS = (ModelError, ProblemError, RunRefused)


@dataclass(frozen=True)
class Reporter:
    """`add` takes each finding, `phase` what is being done, as in “reading the problems”."""

    add: Callable[[Finding], None]
    phase: Callable[[str], None]

    def refuse(self, kind: str, path: str, sentence: str) -> None:
        self.add(Finding("refused", kind, path, sentence))

    def warn(self, kind: str, path: str, sentence: str) -> None:
        self.add(Finding("warning", kind, path, sentence))

    def fact(self, kind: str, path: str, sentence: str) -> None:
        self.add(Finding("fact", kind, path, sentence))

    @contextmanager
    def check(self, kind: str, path: str) -> Iterator[None]:
        """Make an error of the block a finding."""
        try:
            yield
        except Exception as error:
            self.error(kind, path, error)

    def error(self, kind: str, path: str, error: Exception) -> None:
        """Report a refusal of the run's own checks, or any other error as a warning.

        An error that was not foreseen must not end the other checks.
        """
        if isinstance(error, REFUSALS):
            self.refuse(kind, path, sentence_of(error))
        else:
            self.warn(
                "not_checked",
                path,
                f"This could not be checked ({type(error).__name__}: {str(error)[:200]}); "
                "the run may fail in the same way.",
            )
