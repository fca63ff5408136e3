"""The page before a shipped experiment is run again: what is run, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from trainer import experiments as results
from trainer.experiments import definition
from trainer.experiments.comparisons import FEWEST_SEEDS
from trainer.experiments.cpu_time import planned
from trainer.experiments.definition import Experiment
from trainer.experiments.rule_text import adjusted_together, rule
from trainer.spec import load
from webapp.access import actors, permissions
from webapp.access.models import Team
from webapp.access.permissions import current_team
from webapp.definition import run_checks
from webapp.definition.estimate import EstimateRow, estimate_run
from webapp.experiments import reproduction
from webapp.experiments.verdicts import Measured, published_measured

TITLES = {"gates": "Precondition", "claims": "Claim"}


@dataclass(frozen=True)
class Size:
    """A choice of how many of the planned seeds are run, with what that takes."""

    seeds: int
    runs: int
    bases: int
    cpu_hours: float

    @property
    def has_verdict(self) -> bool:
        return self.seeds >= FEWEST_SEEDS


@dataclass(frozen=True)
class JudgedContrast:
    """A contrast that is judged, its rule, and its published verdict; None if there is none."""

    title: str
    says: str
    rule: str
    published: Measured | None


def sizes_of(experiment: Experiment) -> list[Size]:
    """Return all choices, that of every planned seed first."""
    return [
        Size(count, len(estimate.runs), len(estimate.bases), estimate.hours)
        for count in range(len(experiment.seeds), 0, -1)
        if (estimate := planned(experiment, count))
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def reproduce(request: HttpRequest, name: str, experiment: str) -> HttpResponse:
    """Show what a recipe's experiment will run; POST starts it."""
    team = current_team(request)
    permissions.require(actors.actor_of(request), "start", team)
    try:
        shipped = definition.load(experiment)
    except KeyError:
        raise Http404("no such experiment") from None
    if shipped.recipe != name:
        raise Http404("the recipe has no such experiment")
    if request.method == "POST":
        choices = {str(count + 1): count + 1 for count in range(len(shipped.seeds))}
        seeds = choices.get(request.POST.get("seeds", ""))
        if seeds is not None:
            started = reproduction.launch(
                team, actors.actor_of(request).user, experiment, shipped.seeds[:seeds]
            )
            return redirect("experiment", started.public_id)
        messages.error(request, f"Choose from 1 to {len(shipped.seeds)} seeds.")
    published = results.results(experiment) or {}
    context = {
        "shipped": shipped,
        "recipe": name,
        "sizes": sizes_of(shipped),
        "base_minutes": max(planned(shipped, 1).bases, default=None),
        "disk": _disk(shipped, team),
        "contrasts": _contrasts(shipped, published),
        "published_seeds": len(published.get("seeds", ())),
        "fewest_seeds": FEWEST_SEEDS,
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "experiments/reproduce.html", context, status=status)


def _contrasts(shipped: Experiment, published: dict[str, object]) -> list[JudgedContrast]:
    judged = []
    for section, title in TITLES.items():
        stored = published.get(section)
        by_text = {
            contrast["says"]: published_measured(contrast)
            for contrast in (stored if isinstance(stored, list) else ())
        }
        together = adjusted_together(shipped.claims) if section == "claims" else 1
        judged += [
            JudgedContrast(
                title, contrast.says, rule(contrast, together), by_text.get(contrast.says)
            )
            for contrast in getattr(shipped, section)
        ]
    return judged


def _disk(shipped: Experiment, team: Team) -> EstimateRow | None:
    """Return the estimate of one run's disk; None where its student is made first."""
    if shipped.bases:
        return None
    arm, seed = next(iter(shipped.arms)), shipped.seeds[0]
    spec = load(shipped.located_definition(arm, seed, lambda name, file: f"file:/{name}/{file}"))
    rows = estimate_run(spec, run_checks.validate_references(spec, team).facts).rows
    return next((row for row in rows if row.title == "Disk"), None)
