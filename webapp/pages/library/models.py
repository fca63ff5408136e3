"""The team's models: the built-in pair and uploaded folders."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webapp.access import actors, permissions
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow, takes_uploads
from webapp.library import locations, model_reader, stored_models, uploads
from webapp.library.model_files import ModelFacts, UnusableModel
from webapp.library.models import StoredModel
from webapp.pages.library import delete_uploads


@slow
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    uploaded_models = (
        permissions.visible(actors.actor_of(request), StoredModel)
        .filter(team=current_team(request))
        .select_related("team", "created_by")
        .order_by("name", "-created_at")
    )
    builtin = [
        {
            "name": label,
            "uri": f"builtin:{name}",
            "facts": model_reader.facts(locations.builtin_folder(name)),
        }
        for name, label in locations.BUILTIN_LABELS.items()
    ]
    rows = [
        {
            "model": model,
            "uri": (uri := locations.uri_of_model(model)),
            "facts": _facts(model),
            "runs": delete_uploads.runs_with(uri, model.team).count(),
        }
        for model in uploaded_models
    ]
    return render(request, "models/list.html", {"builtin": builtin, "rows": rows})


@require_POST
def delete_model(request: HttpRequest, model_id: int) -> HttpResponse:
    model = permissions.find(actors.actor_of(request), "edit", StoredModel, pk=model_id)
    try:
        delete_uploads.delete(model)
    except delete_uploads.UploadInUse as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{model.name} was deleted.")
    return redirect("models")


@slow
@takes_uploads("edit")
@require_http_methods(["GET", "HEAD", "POST"])
def new_model(request: HttpRequest) -> HttpResponse:
    """Show the upload form; on POST, store the folder or show why it is refused."""
    team = current_team(request)
    if request.method != "POST":
        return _form(request)
    permissions.require(actors.actor_of(request), "edit", team)
    files = request.FILES.getlist("files")
    if not files:
        return _form(request, "Choose the folder of the model.")
    try:
        upload = stored_models.store(
            team, actors.actor_of(request).user, request.POST.get("name", ""), files
        )
    except UnusableModel as error:
        return _form(request, str(error))
    left_out = (
        f" Left out, because no model is loaded from them: {', '.join(upload.left_out[:8])}."
        if upload.left_out
        else ""
    )
    messages.success(request, f"{upload.model.name} is stored.{left_out}")
    return uploads.created(request, reverse("models"))


def _form(request: HttpRequest, problem: str = "") -> HttpResponse:
    return render(
        request,
        "models/new.html",
        {
            "problem": problem,
            "name": request.POST.get("name", ""),
            "may_edit": permissions.may_in_team(actors.actor_of(request), "edit"),
        },
        status=422 if problem else 200,
    )


def _facts(model: StoredModel) -> ModelFacts | None:
    """Return what the model's files state; None if one is missing from the store."""
    try:
        # The list shows the other models too if the files of one are gone.
        stored_models.folder_of(model)
        return stored_models.facts_of(model)
    except (UnusableModel, FileNotFoundError):
        return None
