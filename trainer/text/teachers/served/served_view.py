"""A teacher of a run whose network is on a server: it reads rows by asking for their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from trainer.spec import HiddenStates, ServedTeacher
from trainer.spec.networks import Context
from trainer.text.language import stored_heads
from trainer.text.language.heads import Head
from trainer.text.language.hidden_states import Row
from trainer.text.language.text_models import TextModel
from trainer.text.teachers.readings import (
    Gives,
    HiddenReading,
    Reading,
    TopReading,
    Unread,
    WrittenReading,
)
from trainer.text.teachers.scoring_teacher import ScoringTeacher
from trainer.text.teachers.secret_values import value_of
from trainer.text.teachers.served.checks import Check
from trainer.text.teachers.served.client import ServedClient
from trainer.text.teachers.served.fixed_texts import fixed_texts
from trainer.text.teachers.served.proof import Proof
from trainer.text.teachers.served.requests import Requests, Traffic


@dataclass(frozen=True)
class RunHandle:
    """What a served teacher needs of its run.

    `log(level, sentence)` and `progress(done, of)` report to it; the latter may raise to stop it.
    `step()` is the number of its step.
    """

    log: Callable[[str, str], None] = lambda level, sentence: None
    progress: Callable[[int, int], None] = lambda done, of: None
    step: Callable[[], int] = lambda: 0


@dataclass(eq=False)
class ServedView(ScoringTeacher):
    """A teacher on servers, whose scores are checked at the first reading and at intervals."""

    name: str
    language_model: TextModel
    context: Context
    longest: int
    teacher: ServedTeacher
    client: ServedClient
    check: Check
    device: torch.device
    run: RunHandle
    applied_head: Head | None = None
    checked_step: int = field(default=0, init=False)

    @property
    def gives(self) -> Gives:
        return self.teacher.gives.kind

    @property
    def head(self) -> Head | None:
        return self.applied_head

    @property
    def traffic(self) -> Traffic:
        """What the requests have cost so far."""
        return self.client.requests.traffic

    def open(self) -> None:
        """Check the servers before anything is learnt. Raises Failure or RunRefused."""
        self.client.check_again()

    def read(self, rows: Sequence[Row], tokens: int) -> list[Reading | Unread]:
        step = self.run.step()
        if step - self.checked_step >= self.teacher.check_every:
            self.client.check_again()
            self.checked_step = step
        return [
            scores if isinstance(scores, Unread) else self._placed(scores.reading)
            for scores in self.client.score(rows)
        ]

    def _placed(self, reading: Reading) -> Reading:
        """Return the reading on the run's device."""
        if isinstance(reading, HiddenReading):
            return HiddenReading(reading.hidden.to(self.device))
        if isinstance(reading, TopReading):
            columns = (reading.ids, reading.logprobs, reading.written)
            return TopReading(*(column.to(self.device) for column in columns))
        return WrittenReading(reading.written.to(self.device))


def open_served(
    name: str,
    setting: str,
    teacher: ServedTeacher,
    language_model: TextModel,
    longest: int,
    device: torch.device,
    run: RunHandle,
) -> ServedView:
    """Return a teacher whose servers have passed their check.

    `setting` is its path in the definition. Raises ModelError, and what `ServedClient.score` does.
    """
    head = (
        stored_heads.load_head(teacher.gives.head)
        if isinstance(teacher.gives, HiddenStates)
        else None
    )
    requests = Requests(
        teacher,
        setting,
        value_of(teacher.key, f"{setting}.key") if teacher.key else "",
        language_model.vocabulary,
        head.weight.shape[1] if head else 0,
    )
    proof = Proof(language_model, fixed_texts(language_model), teacher.tolerance, head)
    check = Check(name, teacher, proof, requests.k)
    client = ServedClient(name, requests, check, run.log, run.progress)
    if head:
        run.log(
            "info", f"The head of the {name} has the fingerprint {stored_heads.fingerprint(head)}."
        )
        head = head._replace(
            weight=head.weight.to(device), bias=None if head.bias is None else head.bias.to(device)
        )
    view = ServedView(
        name, language_model, teacher.context, longest, teacher, client, check, device, run, head
    )
    view.open()
    return view
