"""What every page of a run shares: finding the run for whoever asks, and the header that stands above each tab."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from webapp.runs import words
from webapp.runs.models import ACTIVE, Run, State
from webapp.teams import access
from webapp.teams.access import Action, Actor

TABS = (
    ("run", "Overview"),
    ("frontier", "Frontier"),
    ("rollouts", "Rollouts"),
    ("log", "Log"),
    ("config", "Config"),
    ("checkpoints", "Checkpoints"),
)


def actor_of(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


def find_run(request: HttpRequest, run_id: str, action: Action = "view") -> Run:
    """The run of that public id. Raises Http404 if the person cannot see it, PermissionDenied if they may not do `action`."""
    return access.find(actor_of(request), action, Run, public_id=run_id)


def render_tab(request: HttpRequest, run: Run, tab: str, context: dict[str, Any]) -> HttpResponse:
    """The page `runs/<tab>.html` below the run's header."""
    actor = actor_of(request)
    shared = {
        "run": run,
        "tab": tab,
        "tabs": TABS,
        "phase": words.phase_of(run),
        "silent": words.is_silent(run),
        "is_active": run.state in ACTIVE or run.state == State.QUEUED,
        "may": {action: access.may(actor, action, run) for action in ("edit", "start", "stop", "share", "download")},
        "live": {"run": run.public_id, "since": run.news, "states": words.STATES, "phases": words.PHASES},
    }
    return render(request, f"runs/{tab}.html", {**shared, **context})
