"""The check of a teacher's servers: proven scores that stay the same, and are those of its weights.

The first server that passes gives the fingerprint with which all servers are compared from then on,
also after the run is resumed. With a local reading it must have the scores of those weights, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from trainer.engine.outcome import Failure
from trainer.spec import ServedTeacher
from trainer.spec.served_teacher import LocalReading as LocalCheck
from trainer.text.teachers.served.client import SIGNAL_REMEDY, Ask
from trainer.text.teachers.served.fingerprints import Fingerprint
from trainer.text.teachers.served.local_reading import LocalReading, read_locally
from trainer.text.teachers.served.proof import Proof
from trainer.text.teachers.served.scores import SignalFault

# Nats below which two models score texts alike: far below the effect of any training.
SAME = 1e-4


@dataclass
class Check:
    """Checks each server of a teacher; `recorded` is the fingerprint of the first that passed."""

    name: str
    teacher: ServedTeacher
    proof: Proof
    k: int
    recorded: Fingerprint | None = None

    async def __call__(self, url: str, ask: Ask) -> None:
        """Raise SignalFault if the server's scores are not those of the teacher."""
        fingerprint = await self.proof.fingerprint(ask)
        if self.recorded is None:
            self._compare_with_weights(fingerprint)
            self.recorded = fingerprint
        elif (difference := fingerprint.distance(self.recorded)) > self.teacher.tolerance:
            raise SignalFault(
                f"scores fixed texts otherwise than when the run was checked first (by "
                f"{difference:.3g} nats a token): it has other weights, another temperature or "
                "number format, or is not the only model behind its address"
            )

    def is_same_model(self, other: Check) -> bool:
        """Whether the servers of two teachers score the fixed texts alike, but for rounding."""
        if self.recorded is None or other.recorded is None:
            return False
        return self.recorded.distance(other.recorded) < SAME

    def to_json(self) -> dict[str, list[float]]:
        """Return the recorded fingerprint for a checkpoint; empty before the first check."""
        return self.recorded.to_json() if self.recorded else {}

    def require_same(self, stored: Mapping[str, Sequence[float]]) -> None:
        """Raise Failure if the recorded fingerprint is not the one of a checkpoint."""
        before = Fingerprint.from_json(stored)
        if self.recorded is None:
            self.recorded = before
        elif (difference := self.recorded.distance(before)) > self.teacher.tolerance:
            raise Failure(
                f"The {self.name} scores fixed texts otherwise than before the run was resumed (by "
                f"{difference:.3g} nats a token): its servers have another model.",
                SIGNAL_REMEDY,
            )

    def _compare_with_weights(self, found: Fingerprint) -> None:
        if self.local is None:
            return
        difference = found.distance(self.local.fingerprint(self.k))
        if difference > self.teacher.tolerance:
            assert isinstance(self.teacher.check, LocalCheck)
            cause = self.local.explain(found, self.teacher.tolerance)
            raise SignalFault(
                f"scores fixed texts otherwise than {self.teacher.check.model} does (by "
                f"{difference:.3g} nats a token): {cause}"
            )

    @cached_property
    def local(self) -> LocalReading | None:
        """The fixed texts as the weights of the definition read them, if it names any."""
        if not isinstance(self.teacher.check, LocalCheck):
            return None
        return read_locally(self.teacher.check.model, self.proof.texts)
