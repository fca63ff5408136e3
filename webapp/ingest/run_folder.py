"""Taking in a run that was made elsewhere, from its folder: `spec.json` if there is one, and the
event log of every attempt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trainer.spec
from trainer.events import LogReader
from webapp.access.models import Team, User
from webapp.ingest.event_log import ingest
from webapp.runs import lifecycle
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run, State

BATCH_EVENTS, BATCH_BYTES = 5_000, 4 << 20
LONGEST_NAME = 120
MOST_DIGITS = 9
OUTCOMES = {"completed": State.COMPLETED, "stopped": State.STOPPED, "failed": State.FAILED}


class NotARun(Exception):
    """The folder does not hold a run; the message says what is missing."""


def import_folder(folder: Path, team: Team, owner: User | None, into: Run | None = None) -> Run:
    """A run with everything that the folder records. `into` continues an earlier import of it.
    Raises NotARun.
    """
    attempts = _attempts(folder)
    spec = _definition(folder / "spec.json")
    run = into or lifecycle.create_run(
        team,
        owner,
        spec,
        name="" if spec else folder.name[:LONGEST_NAME],
        source=Run.Source.IMPORTED,
        state=State.STOPPED,
    )
    damage: list[str] = []
    for number, place in attempts:
        Attempt.objects.get_or_create(
            run=run, number=number, defaults={"folder": str(place)[:1024]}
        )
        Run.objects.filter(pk=run.pk).update(attempt=number)
        reader = LogReader(place / "events")
        while batch := reader.read_batch(BATCH_EVENTS, BATCH_BYTES):
            ingest(run.pk, number, batch, place)
        damage += reader.damage
        damage += (
            [f"the last line of attempt {number}, which is not whole"]
            if reader.has_partial_line
            else []
        )
    return _conclude(run, attempts[-1][0], damage)


def _attempts(folder: Path) -> list[tuple[int, Path]]:
    """The attempts by number. Raises NotARun if there is none, or one whose number no run can
    reach.
    """
    found = [
        path.parent for path in folder.glob("attempts/*/events") if path.parent.name.isdecimal()
    ]
    if not found:
        raise NotARun(f"{folder} holds no attempts/<number>/events, so there is no run to import.")
    for place in found:
        if len(place.name) > MOST_DIGITS:
            raise NotARun(
                f"The attempt attempts/{place.name[:40]} has too large a number: it may have {MOST_DIGITS} digits."
            )
    return sorted((int(place.name), place) for place in found)


def _definition(file: Path) -> dict[str, Any] | None:
    """The validated definition as plain JSON; None without a file. Raises NotARun."""
    try:
        return trainer.spec.to_dict(trainer.spec.load(json.loads(file.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return None
    except RecursionError as problem:
        raise NotARun(
            f"{file} cannot be read as a run definition: it is nested too deeply."
        ) from problem
    except (OSError, ValueError, trainer.spec.SpecError) as problem:
        raise NotARun(f"{file} cannot be read as a run definition: {problem}") from problem


def _conclude(run: Run, attempt: int, damage: list[str]) -> Run:
    """The state in which the log leaves the run, and when it began and ended."""
    run.refresh_from_db()
    end = Event.objects.filter(run=run, attempt=attempt, type="end").order_by("-seq").first()
    outcome = OUTCOMES.get(str(end.payload.get("outcome"))) if end else None
    run.state = outcome or State.STOPPED
    sentences = [
        run.reason if outcome else "The log does not say how the run ended.",
        *(f"Not readable: {found}." for found in damage),
    ]
    run.reason = " ".join(filter(None, sentences))
    first = Event.objects.filter(run=run).order_by("wall_time").first()
    run.started_at = first.wall_time if first else moment(0)
    run.finished_at = run.last_event_at
    run.save(update_fields=["state", "reason", "started_at", "finished_at"])
    return run
