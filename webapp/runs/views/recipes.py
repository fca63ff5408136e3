"""The published systems: what each does, its equation, the figure to watch, its claims and where to start."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from trainer import recipes as published


@require_safe
def recipes(request: HttpRequest) -> HttpResponse:
    return render(request, "recipes/list.html", {"recipes": [published.load(name) for name in published.names()]})


@require_safe
def recipe(request: HttpRequest, name: str) -> HttpResponse:
    try:
        found = published.load(name)
    except KeyError:
        raise Http404("no such recipe") from None
    presets = [{"key": key, "preset": preset, "spec": found.spec(key)} for key, preset in found.presets.items()]
    return render(request, "recipes/recipe.html", {"recipe": found, "presets": presets})
