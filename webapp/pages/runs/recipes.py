"""Pages of the recipes: each published system's method, equation, claims and presets.

A recipe's page also names the metric to watch and the results of its own experiments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from trainer import experiments
from trainer import recipes as published
from trainer.experiments import definition
from trainer.experiments.cpu_time import planned
from trainer.spec import (
    PrivilegedContext,
    RunSpec,
    SelectedTokens,
    Stage,
    StatedConfidence,
)
from webapp.definition.estimate import SOURCES
from webapp.pages.site import manual
from webapp.runs import naming

RESULTS = {
    "gates": "Preconditions",
    "claims": "Claims",
    "explored": "Explored beside the claims, not adjusted for their number",
}


@require_safe
def recipes(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "recipes/list.html",
        {"recipes": [published.load(name) for name in published.names()]},
    )


@require_safe
def recipe(request: HttpRequest, name: str) -> HttpResponse:
    try:
        loaded = published.load(name)
    except KeyError:
        raise Http404("no such recipe") from None
    presets = [
        {"key": key, "preset": preset, "facts": list(_facts(loaded.spec(key)))}
        for key, preset in loaded.presets.items()
    ]
    return render(
        request,
        "recipes/recipe.html",
        {
            "recipe": loaded,
            "presets": presets,
            "shipped": [_size(definition.load(each)) for each in _experiment_names(name)],
            "experiments": _experiments(name),
        },
    )


def _experiment_names(recipe: str) -> list[str]:
    """Names of the experiments of a recipe, its main one first."""
    names = [name for name in definition.names() if definition.load(name).recipe == recipe]
    # The main experiment of a recipe has its name.
    return sorted(names, key=lambda name: (name != recipe, name))


def _size(experiment: definition.Experiment) -> dict[str, Any]:
    """What an experiment takes, for its button."""
    estimate = planned(experiment, len(experiment.seeds))
    return {
        "name": experiment.name,
        "title": experiment.title,
        "arms": len(experiment.arms),
        "seeds": len(experiment.seeds),
        "runs": len(estimate.runs),
        "bases": len(estimate.bases),
        "cpu_hours": estimate.hours,
    }


def _experiments(recipe: str) -> list[dict[str, Any]]:
    """What each experiment of the recipe showed and how to read it."""
    return [
        _experiment(name, results)
        for name in _experiment_names(recipe)
        if (results := experiments.results(name)) is not None
    ]


def _experiment(name: str, results: dict[str, Any]) -> dict[str, Any]:
    loaded = definition.load(name)
    report = f"results/{name}/report"
    return {
        "name": name,
        "title": loaded.title,
        "results": results,
        "groups": [(title, results.get(key, ())) for key, title in RESULTS.items()],
        "reading": loaded.reading,
        # The link is left out if the site has no such document.
        "report": report if report in manual.names() else "",
    }


def _facts(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the title and text of each setting in which presets differ."""
    networks, pool = spec.networks, spec.pool
    yield "Student", networks.student.model
    yield "Teacher", naming.network_name(networks.teacher.model_dump())
    context = getattr(networks.teacher, "context", None)
    if isinstance(context, PrivilegedContext):
        yield "Shown to the teacher", f"the {context.shows}"
    if spec.data.is_cohort:
        yield "Evaluation", "the training problems themselves, without their references in training"
    if isinstance(spec.data.confidence, StatedConfidence):
        yield "Confidence", f"stated as “{spec.data.confidence.wording}”"
    if pool.estimate == "before":
        yield "Pass rates", f"K = {pool.rollouts_per_problem} answers to each problem"
    if pool.weighting.uses_pass_rates:
        yield "Weights", pool.weighting.describe()
    for stage in spec.stages:
        yield f"Stage {stage.name}", _stage(stage)


def _stage(stage: Stage) -> str:
    count, tokens = stage.rollouts.generate.per_problem, stage.tokens
    token_share = (
        f", on {100 * tokens.share:g} % of the tokens" if isinstance(tokens, SelectedTokens) else ""
    )
    per_problem = f", {count} to each problem" if count > 1 else ""
    return (
        f"{stage.until.steps:,} steps, {stage.describe_objective()} on "
        f"{SOURCES[stage.source]}{per_problem}{token_share}"
    )
