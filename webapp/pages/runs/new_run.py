"""The new-run page: a form derived from the run definition, checked as it is filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST

from trainer import recipes
from trainer.spec import SpecError, SpecIssue, issues_in, load, to_dict
from trainer.spec.reader import MAX_CHARACTERS, migrate, parse
from webapp.access import access, actors
from webapp.access.access import current_team
from webapp.definition import location_choices
from webapp.definition import run_form as forms
from webapp.definition.changes import changes
from webapp.definition.draft import Draft, draft_of
from webapp.definition.run_form import FormData
from webapp.library import locations
from webapp.library.models import DataSet
from webapp.runs import lifecycle
from webapp.runs.lookup import find_run
from webapp.runs.models import Run

FIRST = "paced"
SMALL = ("sample", "small")
"""Names of the presets that train on two CPU cores with what is built in."""
FOR_OWN_DATA = ("paper",)
SAMPLE = "Sample: "
ID = re.compile(r"[0-9]{1,18}")


@require_http_methods(["GET", "HEAD", "POST"])
def new_run(request: HttpRequest) -> HttpResponse:
    """GET shows the form from a recipe's preset or as a clone; POST starts the run, or shows the
    form again with its issues.
    """
    team = current_team(request)
    if request.method == "POST":
        access.require(actors.actor_of(request), "start", team)
        return _start(request)
    if parent := _parent(request, request.GET.get("clone")):
        named = {**_whole(parent), "name": f"{parent.name} (clone)"[:120]}
        return _page(
            request,
            draft_of(forms.form_from(named), team),
            parent=parent,
            origin=f"A clone of {parent.name}.",
        )
    data = request.GET.get("data")
    form = forms.form_from(_preset(request.GET, FOR_OWN_DATA if data else SMALL))
    if data:
        _use(
            form,
            access.find(
                actors.actor_of(request),
                "view",
                DataSet,
                team=team,
                pk=int(data) if ID.fullmatch(data) else 0,
            ),
        )
    return _page(request, draft_of(form, team))


@require_POST
def check_run(request: HttpRequest) -> HttpResponse:
    """The side panel for the form as it stands: issues, schedule, estimate, YAML and what is new
    since the parent.
    """
    draft = draft_of(forms.normalised(request.POST), current_team(request))
    return render(
        request,
        "new_run/_check.html",
        _checked(draft, _parent(request, request.POST.get("parent"))),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def import_run(request: HttpRequest) -> HttpResponse:
    """Fill the form in from YAML or JSON; what it holds beyond the known settings is named, not
    dropped silently.
    """
    team = current_team(request)
    if request.method != "POST":
        messages.info(request, "A definition is imported on this page, under “Import YAML”.")
        return redirect("new_run")
    access.require(actors.actor_of(request), "start", team)
    try:
        spec = migrate(parse(_imported_text(request)))
    except SpecError as error:
        draft = draft_of(forms.form_from(_preset(QueryDict())), team, tuple(error.issues))
        return _page(
            request,
            draft,
            origin="The definition could not be read, so this is the sample run's.",
            status=422,
        )
    form = forms.form_from(spec)
    draft = draft_of(form, team, tuple(_not_shown(spec)))
    return _page(
        request,
        draft,
        origin="Filled in from the imported definition.",
        status=422 if draft.layout.issues else 200,
    )


def _start(request: HttpRequest) -> HttpResponse:
    draft = draft_of(forms.normalised(request.POST), current_team(request))
    parent = _parent(request, request.POST.get("parent"))
    if not draft.startable:
        return _page(request, draft, parent=parent, status=422)
    memory = draft.estimate.memory_bytes if draft.estimate else None
    run = lifecycle.create_run(
        current_team(request),
        actors.actor_of(request).user,
        draft.definition,
        parent=parent,
        memory_bytes=memory,
    )
    return redirect("run", run.public_id)


def _preset(query: QueryDict, otherwise: Sequence[str] = SMALL) -> dict[str, Any]:
    """The definition to start from, by default the first preset among `otherwise`. Raises Http404
    for what there is not.
    """
    try:
        recipe = recipes.load(query.get("recipe", FIRST))
        spec = to_dict(recipe.spec(query.get("preset") or _first(recipe, otherwise)))
    except KeyError as error:
        raise Http404(str(error)) from None
    return {**spec, "name": spec["name"].removeprefix(SAMPLE)}


def _first(recipe: recipes.Recipe, wanted: Sequence[str]) -> str:
    return next((name for name in wanted if name in recipe.presets), next(iter(recipe.presets)))


def _use(form: FormData, data: DataSet) -> None:
    """Train on a data set, with its columns and its verifier, and name the run after it."""
    form["name"] = f"PACED on {data.name}"
    form["data.train.kind"], form["data.train.path"] = "file", locations.uri_of_data(data)
    for name, value in location_choices.mapping_of(data).items():
        form[name.replace("{role}", "data.train")] = value


def _imported_text(request: HttpRequest) -> str:
    file = request.FILES.get("file")
    if file is None or request.POST.get("yaml", "").strip():
        return request.POST.get("yaml", "")
    try:
        return file.read(4 * MAX_CHARACTERS + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError([SpecIssue("", "The file is not UTF-8 text; save it as UTF-8.")]) from None


def _not_shown(spec: dict[str, Any]) -> list[SpecIssue]:
    """Problems of an imported definition that the form, which has no place for them, would lose:
    unknown settings.
    """
    kept = {issue.path for issue in issues_in(forms.spec_from(forms.form_from(spec)))}
    return [issue for issue in issues_in(spec) if issue.path not in kept]


def _parent(request: HttpRequest, public_id: str | None) -> Run | None:
    """The run that is cloned. Raises Http404 if the person cannot see it, or if it has no
    definition.
    """
    if not public_id:
        return None
    parent = find_run(actors.actor_of(request), "view", public_id)
    if parent.spec is None:
        raise Http404("a run without a definition cannot be cloned")
    return parent


def _checked(draft: Draft, parent: Run | None) -> dict[str, Any]:
    shown = {
        "issues": draft.layout.issues,
        "notes": draft.notes,
        "estimate": draft.estimate,
        "yaml": draft.yaml,
    }
    return {
        **shown,
        "parent": parent,
        "changes": changes(_whole(parent), draft.definition) if parent and draft.spec else [],
    }


def _whole(run: Run) -> dict[str, Any]:
    """The definition of a run with its defaults; as it is stored, if this version cannot read
    it.
    """
    try:
        return to_dict(load(run.spec or {}))
    except SpecError:
        return run.spec or {}


def _page(
    request: HttpRequest,
    draft: Draft,
    *,
    parent: Run | None = None,
    origin: str = "",
    status: int = 200,
) -> HttpResponse:
    asked = request.POST.get("mode") or request.GET.get("mode")
    context = {
        "layout": draft.layout,
        **_checked(draft, parent),
        "mode": "expert" if asked == "expert" else "simple",
        "origin": origin,
        "refused": status == 422,
        "starts": _starts(request, fresh=not origin and request.method == "GET"),
        "may_start": access.may_in_team(actors.actor_of(request), "start"),
    }
    return render(request, "new_run/page.html", context, status=status)


def _starts(request: HttpRequest, fresh: bool) -> list[dict[str, Any]]:
    """The presets of all recipes, as links that fill the form in."""
    chosen = request.GET.get("recipe", FIRST) if fresh else None
    return [
        _start_from(recipes.load(name), request.GET.get("preset"), name == chosen)
        for name in recipes.names()
    ]


def _start_from(recipe: recipes.Recipe, preset: str | None, chosen: bool) -> dict[str, Any]:
    current = (preset or _first(recipe, SMALL)) if chosen else None
    links = [
        {
            "title": found.title,
            "help": found.help,
            "url": "?" + urlencode({"recipe": recipe.name, "preset": name}),
            "current": name == current,
        }
        for name, found in recipe.presets.items()
    ]
    return {
        "recipe": recipe.title,
        "presets": links,
        "current": chosen,
        "help": recipe.presets[current].help if current else "",
    }
