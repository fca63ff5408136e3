"""Import of a run that was made elsewhere, from its folder.

The folder has the event log of every attempt, and `spec.json` if the definition is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trainer.spec
from trainer.events import LogReader
from webapp.access.models import Team, User
from webapp.ingest.event_log import ingest
from webapp.runs import lifecycle
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run, State

# More events than the batches of a running attempt, because nobody waits for the first ones.
BATCH_EVENTS, BATCH_BYTES = 5_000, 4 << 20
MAX_NAME_LENGTH = 120
# A number of nine digits fits the integer column of attempts, one of ten may not.
MAX_ATTEMPT_DIGITS = 9
OUTCOMES = {"completed": State.COMPLETED, "stopped": State.STOPPED, "failed": State.FAILED}


class NoRunFolder(Exception):
    """The folder does not hold a run; the message says what is missing."""


def import_folder(folder: Path, team: Team, owner: User | None, into: Run | None = None) -> Run:
    """Import everything that the folder records into a run; `into` continues an earlier import.

    Raises NoRunFolder if the folder has no readable run.
    """
    attempts = _attempts(folder)
    spec = _definition(folder / "spec.json")
    run = into or lifecycle.create_run(
        team,
        owner,
        spec,
        name="" if spec else folder.name[:MAX_NAME_LENGTH],
        source=Run.Source.IMPORTED,
        state=State.STOPPED,
    )
    damage: list[str] = []
    for number, attempt_folder in attempts:
        Attempt.objects.get_or_create(
            run=run, number=number, defaults={"folder": str(attempt_folder)[:1024]}
        )
        # Set before its events are recorded: the summary ignores events of other attempts.
        Run.objects.filter(pk=run.pk).update(attempt=number)
        reader = LogReader(attempt_folder / "events")
        while batch := reader.read_batch(BATCH_EVENTS, BATCH_BYTES):
            ingest(run.pk, number, batch, attempt_folder)
        damage += reader.damage
        if reader.has_partial_line:
            damage.append(f"the last line of attempt {number}, which is not whole")
    return _conclude(run, attempts[-1][0], damage)


def _attempts(folder: Path) -> list[tuple[int, Path]]:
    """Return (number, folder) of each attempt.

    Raises NoRunFolder if there is none, or if a number is too large for its column.
    """
    folders = [
        path.parent for path in folder.glob("attempts/*/events") if path.parent.name.isdecimal()
    ]
    if not folders:
        raise NoRunFolder(
            f"{folder} holds no attempts/<number>/events, so there is no run to import."
        )
    for attempt_folder in folders:
        if len(attempt_folder.name) > MAX_ATTEMPT_DIGITS:
            raise NoRunFolder(
                f"The attempt attempts/{attempt_folder.name[:40]} has too large a number: "
                f"it may have {MAX_ATTEMPT_DIGITS} digits."
            )
    return sorted((int(attempt_folder.name), attempt_folder) for attempt_folder in folders)


def _definition(file: Path) -> dict[str, Any] | None:
    """Return the validated definition as plain JSON; None without a file. Raises NoRunFolder."""
    try:
        # Given as text: it may be longer than a definition, nested too deeply, or no object.
        return trainer.spec.to_dict(trainer.spec.load(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise NoRunFolder(f"{file} cannot be read as a run definition: {problem}") from problem


def _conclude(run: Run, attempt: int, damage: list[str]) -> Run:
    """Set the run's state as the end of the log says, and when it started and ended."""
    run.refresh_from_db()
    end = Event.objects.filter(run=run, attempt=attempt, type="end").order_by("-seq").first()
    outcome = OUTCOMES.get(str(end.payload.get("outcome"))) if end else None
    run.state = outcome or State.STOPPED
    sentences = [
        run.reason if outcome else "The log does not say how the run ended.",
        *(f"Not readable: {line}." for line in damage),
    ]
    run.reason = " ".join(filter(None, sentences))
    first = Event.objects.filter(run=run).order_by("wall_time").first()
    run.started_at = first.wall_time if first else moment(0)
    run.finished_at = run.last_event_at
    run.save(update_fields=["state", "reason", "started_at", "finished_at"])
    return run
