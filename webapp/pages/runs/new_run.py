"""The new-run page: a form generated from the run definition, checked after each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST

from trainer import recipes
from trainer.plain_yaml import MAX_CHARACTERS
from trainer.spec import SpecError, SpecIssue, issues_in, load, to_dict
from trainer.spec.reader import migrate, parse
from webapp.access import actors, permissions
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow
from webapp.definition import launch_check, location_choices
from webapp.definition import repetition as repetitions
from webapp.definition import run_form as forms
from webapp.definition.changes import changes
from webapp.definition.draft import Draft, draft_of
from webapp.definition.repetition import Repetition
from webapp.definition.run_form import FormData
from webapp.experiments import lifecycle as experiments
from webapp.library import locations
from webapp.library.models import DataSet
from webapp.pages.query_numbers import bigint
from webapp.runs import lifecycle
from webapp.runs.lookup import find_run
from webapp.runs.models import Run

DEFAULT_RECIPE = "paced"
# Presets that train the built-in models on two CPU cores; each recipe has at least one of them.
CPU_PRESETS = ("sample", "small")
OWN_DATA_PRESETS = ("paper",)
SAMPLE_PREFIX = "Sample: "


@slow
@require_http_methods(["GET", "HEAD", "POST"])
def new_run(request: HttpRequest) -> HttpResponse:
    """Show the form with a recipe's preset, a data set or a run to clone; POST starts the run.

    A form with issues is shown again and starts nothing.
    """
    team = current_team(request)
    if request.method == "POST":
        permissions.require(actors.actor_of(request), "start", team)
        return _start(request)
    if parent := _parent(request, request.GET.get("clone")):
        # A name has at most 120 characters, in the definition and in the database.
        spec = {**_spec_with_defaults(parent), "name": f"{parent.name} (clone)"[:120]}
        draft = draft_of(forms.form_from(spec), team)
        return _page(request, draft, parent=parent, origin=f"A clone of {parent.name}.")
    data_id = request.GET.get("data")
    form = forms.form_from(_preset(request.GET, OWN_DATA_PRESETS if data_id else CPU_PRESETS))
    if data_id:
        # No row has the key 0, so a text that is no number is answered as an unknown data set.
        pk = bigint(data_id) or 0
        data = permissions.find(actors.actor_of(request), "view", DataSet, team=team, pk=pk)
        form["name"] = f"PACED on {data.name}"
        form["data.train.kind"], form["data.train.path"] = "file", locations.uri_of_data(data)
        for name, value in location_choices.mapping_of(data).items():
            form[name.replace("{role}", "data.train")] = value
    return _page(request, draft_of(form, team))


@slow
@require_POST
def check_run(request: HttpRequest) -> HttpResponse:
    """Show the side panel for the form: curve, issues, schedule, estimate, YAML and changes."""
    form = forms.normalised(request.POST)
    draft = draft_of(form, current_team(request))
    repetition = repetitions.read(form, draft.definition)
    parent = _parent(request, request.POST.get("parent"))
    context = _check_context(request, draft, parent, repetition)
    return render(request, "new_run/_check_answer.html", context)


@slow
@require_POST
def preflight_run(request: HttpRequest) -> HttpResponse:
    """Have a worker check the form's tokenizers, problems and verifier; show what it has found.

    The page asks again until it has; meanwhile the answer is empty.
    """
    permissions.require(actors.actor_of(request), "start", current_team(request))
    form = forms.normalised(request.POST)
    draft = draft_of(form, current_team(request), launch_check=launch_check.asked)
    repetition = repetitions.read(form, draft.definition)
    context = _check_context(request, draft, None, repetition)
    if context["checking"]:
        return HttpResponse(status=204)
    return render(request, "new_run/_problems.html", context)


@slow
@require_http_methods(["GET", "HEAD", "POST"])
def import_run(request: HttpRequest) -> HttpResponse:
    """Fill in the form from YAML or JSON; unknown settings are reported, not dropped silently."""
    team = current_team(request)
    if request.method != "POST":
        messages.info(request, "Import a definition on this page, under “Import YAML”.")
        return redirect("new_run")
    permissions.require(actors.actor_of(request), "start", team)
    try:
        spec = migrate(parse(_imported_text(request)))
    except SpecError as error:
        draft = draft_of(forms.form_from(_preset(QueryDict())), team, tuple(error.issues))
        return _page(
            request,
            draft,
            origin="The definition could not be read. The form shows the sample run instead.",
            status=422,
        )
    form = forms.form_from(spec)
    # The form drops settings that it does not know, so their issues are added to those of the form.
    form_paths = {issue.path for issue in issues_in(forms.spec_from(form))}
    unknown_settings = [issue for issue in issues_in(spec) if issue.path not in form_paths]
    draft = draft_of(form, team, tuple(unknown_settings))
    status = 422 if draft.layout.issues else 200
    return _page(request, draft, origin="Filled in from the imported definition.", status=status)


def _start(request: HttpRequest) -> HttpResponse:
    form = forms.normalised(request.POST)
    draft = draft_of(form, current_team(request), launch_check=launch_check.awaited)
    parent = _parent(request, request.POST.get("parent"))
    repetition = repetitions.checked(
        repetitions.read(form, draft.definition), current_team(request)
    )
    # Where no worker has answered for the form itself, none is waited for again.
    if draft.startable and draft.check and draft.check.state == "done":
        repetition = repetitions.preflighted(repetition, current_team(request))
    if not draft.startable or repetition.issues:
        return _page(request, draft, parent=parent, repetition=repetition, status=422)
    if draft.check and draft.check.state == "not_made":
        messages.info(request, draft.check.note)
    team, user = current_team(request), actors.actor_of(request).user
    memory_bytes = draft.estimate.memory_bytes if draft.estimate else None
    if plan := repetition.plan:
        experiment = experiments.launch(team, user, draft.definition, plan, parent, memory_bytes)
        return redirect("experiment", experiment.public_id)
    run = lifecycle.create_run(
        team,
        user,
        draft.definition,
        parent=parent,
        tags=parent.tags if parent else (),
        memory_bytes=memory_bytes,
    )
    return redirect("run", run.public_id)


def _preset(query: QueryDict, preferred: Sequence[str] = CPU_PRESETS) -> dict[str, Any]:
    """Return the definition to start from: the preset in the address or a preferred one.

    Raises Http404 if there is no such recipe or preset.
    """
    try:
        recipe = recipes.load(query.get("recipe", DEFAULT_RECIPE))
        spec = to_dict(recipe.spec(query.get("preset") or _default_preset(recipe, preferred)))
    except KeyError as error:
        raise Http404(str(error)) from None
    return {**spec, "name": spec["name"].removeprefix(SAMPLE_PREFIX)}


def _default_preset(recipe: recipes.Recipe, preferred: Sequence[str]) -> str:
    """Return the name of the first preferred preset that the recipe has, else of its first one."""
    return next((name for name in preferred if name in recipe.presets), next(iter(recipe.presets)))


def _imported_text(request: HttpRequest) -> str:
    file = request.FILES.get("file")
    if file is None or request.POST.get("yaml", "").strip():
        return request.POST.get("yaml", "")
    try:
        # A character takes at most four bytes in UTF-8; one more shows that the text is too long.
        return file.read(4 * MAX_CHARACTERS + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError([SpecIssue("", "The file is not UTF-8 text; save it as UTF-8.")]) from None


def _parent(request: HttpRequest, public_id: str | None) -> Run | None:
    """Return the run to clone, if one is named.

    Raises Http404 if the person cannot see it, or if it has no definition.
    """
    if not public_id:
        return None
    parent = find_run(actors.actor_of(request), "view", public_id)
    if parent.spec is None:
        raise Http404("a run without a definition cannot be cloned")
    return parent


def _check_context(
    request: HttpRequest, draft: Draft, parent: Run | None, repetition: Repetition
) -> dict[str, Any]:
    """Return the template context of the side panel."""
    may_start = permissions.may_in_team(actors.actor_of(request), "start")
    return {
        "may_start": may_start,
        "check": draft.check,
        # A viewer gives the workers no work.
        "checking": may_start and draft.check is not None and draft.check.state == "checking",
        "warnings": draft.warnings,
        "facts": draft.check.of("fact") if draft.check else [],
        "curve": draft.curve,
        "issues": [*draft.layout.issues, *repetition.issues],
        "repetition": repetition,
        "notes": draft.notes,
        "estimate": draft.estimate,
        "yaml": draft.yaml,
        "parent": parent,
        "changes": changes(_spec_with_defaults(parent), draft.definition)
        if parent and draft.spec
        else [],
    }


def _spec_with_defaults(run: Run) -> dict[str, Any]:
    """Return the definition of a run with its defaults.

    A definition that this version cannot read is returned as it is stored.
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
    repetition: Repetition | None = None,
    status: int = 200,
) -> HttpResponse:
    mode = request.POST.get("mode") or request.GET.get("mode")
    # A recipe is current if the form was filled in from one of its presets.
    repetition = repetition or repetitions.read(FormData(), draft.definition)
    from_preset = not origin and request.method == "GET"
    current_recipe = request.GET.get("recipe", DEFAULT_RECIPE) if from_preset else None
    context = {
        "layout": draft.layout,
        **_check_context(request, draft, parent, repetition),
        "mode": "expert" if mode == "expert" else "simple",
        "origin": origin,
        "refused": status == 422,
        "recipe_cards": [
            _recipe_card(recipes.load(name), request.GET.get("preset"), name == current_recipe)
            for name in recipes.names()
        ],
    }
    return render(request, "new_run/page.html", context, status=status)


def _recipe_card(recipe: recipes.Recipe, preset_name: str | None, current: bool) -> dict[str, Any]:
    """Return a recipe with its presets as links that fill in the form."""
    current_preset = (preset_name or _default_preset(recipe, CPU_PRESETS)) if current else None
    return {
        "recipe": recipe.title,
        "presets": [
            {
                "title": preset.title,
                "help": preset.help,
                "url": "?" + urlencode({"recipe": recipe.name, "preset": name}),
                "current": name == current_preset,
            }
            for name, preset in recipe.presets.items()
        ],
        "current": current,
        "help": recipe.presets[current_preset].help if current_preset else "",
    }
