"""The team's data sets: upload a file, map its columns, preview ten problems, save.

The preview shows the problems as the verifier reads them. Saving reads the whole file beside the
requests; its page shows the progress and then leads to the data set.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from pydantic import BaseModel

from trainer.spec import Columns, SpecIssue
from trainer.text.problems import LeftOut, ProblemError
from trainer.text.verifiers import VerifierError
from webapp.access import actors, permissions
from webapp.access.models import Team
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow, takes_uploads
from webapp.definition import mapping_form
from webapp.definition import run_form as forms
from webapp.definition.form_field import shortened
from webapp.library import artifacts, data_readings, locations, uploads
from webapp.library import data_sets as datasets
from webapp.library.models import Artifact, DataReading, DataSet
from webapp.pages.library import delete_uploads
from webapp.pages.query_numbers import bigint

# Problems that the form suggests to hold out: a pass rate is then known within 7 points.
MOST_SUGGESTED = 200
# Data sets of a name that a sentence lists.
MOST_NAMED = 5
SHA256 = re.compile(r"[0-9a-f]{64}")
UNREADABLE_ANSWERS = (
    "Runs count answers to these problems neither as right nor as wrong. Change the verifier's "
    "settings, choose another verifier or map another column."
)


class NameTaken(ProblemError):
    """The team has a data set of the chosen name."""


@require_safe
def data_sets(request: HttpRequest) -> HttpResponse:
    rows = (
        permissions.visible(actors.actor_of(request), DataSet)
        .filter(team=current_team(request))
        .select_related("artifact", "created_by")
        .order_by("name", "-created_at")
    )
    readings = (
        permissions.visible(actors.actor_of(request), DataReading)
        .filter(team=current_team(request), ended_at=None)
        .order_by("created_at")
    )
    return render(request, "data/list.html", {"data_sets": rows, "readings": readings})


@require_safe
def data_set(request: HttpRequest, data_id: int) -> HttpResponse:
    data = permissions.find(actors.actor_of(request), "view", DataSet, pk=data_id)
    return _data_set_page(request, data)


def _data_set_page(
    request: HttpRequest,
    data: DataSet,
    problem: str = "",
    form: QueryDict | None = None,
    asks_for_name: bool = False,
) -> HttpResponse:
    """Show a data set; `problem` and `form` are of problems that could not be held out."""
    context = {
        "data": data,
        "problem": problem,
        "asks_for_name": asks_for_name,
        "twins": _twins(request, data),
        "hold_out": form or _suggested_hold_out(data),
        "uri": locations.uri_of_data(data),
        "unreadable": datasets.unreadable_references(data),
        "made": permissions.visible(actors.actor_of(request), DataSet).filter(made_from=data),
        "preview_query": _mapping_query(data).urlencode(),
        "columns": _changed_by_title(Columns, data.columns, ("question", "answer")),
        "verifier": _verifier_shown(data),
    }
    return render(request, "data/data_set.html", context, status=422 if problem else 200)


def _twins(request: HttpRequest, data: DataSet) -> list[DataSet]:
    """Return what else the problems were divided into that this set was made of.

    Of a held-out set that is its training set, and the other way round.
    """
    if data.made_from is None:
        return []
    actor = actors.actor_of(request)
    readings = permissions.visible(actor, DataReading).filter(source=data.made_from)
    if not data.is_held_out:
        divided = readings.filter(held_out__training=data.name, data_set__isnull=False)
        sets = permissions.visible(actor, DataSet).filter(pk__in=divided.values("data_set"))
    else:
        divided = readings.filter(data_set=data)
        names = [row["training"] for row in divided.values_list("held_out", flat=True) if row]
        made = permissions.visible(actor, DataSet).filter(made_from=data.made_from)
        sets = made.filter(name__in=names, is_held_out=False)
    return list(sets.order_by("-pk"))


def _suggested_hold_out(data: DataSet) -> dict[str, str | int]:
    return {
        "name": f"{data.name[:70]}-held-out",
        "training": f"{data.name[:70]}-training",
        "questions": max(1, min(MOST_SUGGESTED, data.problem_count // 10)),
        "seed": 0,
    }


def _mapping_query(mapped: DataSet | DataReading) -> QueryDict:
    """Return the mapping by the names of the run form's fields, as the mapping page sends them."""
    train = {"kind": "file", "columns": mapped.columns}
    form = forms.form_from({"data": {"train": train, "verifier": mapped.verifier}})
    query = QueryDict(mutable=True)
    query.update({"file": mapped.artifact.sha256, "filename": mapped.filename})
    for name in form:
        if name.startswith(mapping_form.PREFIXES):
            query[name] = forms.last_value(form, name)
    return query


def _verifier_shown(data: DataSet) -> Mapping[str, Any]:
    train = {"kind": "file", "path": "file:upload", "columns": data.columns}
    mapping = datasets.mapping_of({"data": {"train": train, "verifier": data.verifier}})
    # A verifier that is no longer installed is shown as it was stored.
    if mapping.verifier is None:
        return data.verifier
    return _changed_by_title(type(mapping.verifier), data.verifier, ("kind",))


def _changed_by_title(
    model: type[BaseModel], stored: Mapping[str, Any], always: Collection[str]
) -> dict[str, Any]:
    """Return stored settings by their titles, without those that are not set or have defaults."""
    defaults = model().model_dump(mode="json")
    return {
        model.model_fields[name].title or name.capitalize(): "yes" if value is True else value
        for name, default in defaults.items()
        if (value := stored.get(name)) is not None and (name in always or value != default)
    }


@require_POST
def delete_data(request: HttpRequest, data_id: int) -> HttpResponse:
    data = permissions.find(actors.actor_of(request), "edit", DataSet, pk=data_id)
    try:
        delete_uploads.delete(data)
    except delete_uploads.UploadInUse as error:
        messages.error(request, str(error))
        return redirect("data_set", data_id)
    messages.success(request, f"{data.name} was deleted.")
    return redirect("data")


@require_POST
def hold_out(request: HttpRequest, data_id: int) -> HttpResponse:
    """Let problems of a data set become a held-out set, and the others a training set."""
    actor = actors.actor_of(request)
    data = permissions.find(actor, "edit", DataSet, pk=data_id)
    form = request.POST
    try:
        _require_new_name(request, data.team, form.get("name", ""), form.get("training", ""))
        reading = data_readings.begin_holding_out(
            data,
            actor.user,
            form.get("name", ""),
            form.get("training", ""),
            _whole_number(form.get("questions", ""), "number of problems"),
            _whole_number(form.get("seed", "0"), "seed"),
        )
    except ProblemError as error:
        return _data_set_page(request, data, str(error), form, isinstance(error, NameTaken))
    return redirect("data_reading", reading.pk)


def _whole_number(text: str, name: str) -> int:
    number = bigint(text.strip())
    if number is None:
        raise ProblemError(f"The {name} must be a whole number.")
    return number


@require_POST
def mark_held_out(request: HttpRequest, data_id: int) -> HttpResponse:
    """Say whether a data set is one that is measured on and never trained on."""
    data = permissions.find(actors.actor_of(request), "edit", DataSet, pk=data_id)
    data.is_held_out = request.POST.get("held_out") == "yes"
    data.save(update_fields=["is_held_out"])
    if not data.is_held_out:
        messages.success(request, f"Runs may be trained on {data.name} again.")
    elif count := delete_uploads.runs_trained_on(data).count():
        messages.warning(
            request,
            f"{data.name} is a held-out set now, but {count:,} run{pluralize(count)} named it as "
            "training problems: their results on it would measure memory.",
        )
    else:
        messages.success(request, f"{data.name} is a held-out set now: no run is trained on it.")
    return redirect("data_set", data.pk)


@slow
@takes_uploads("edit")
@require_http_methods(["GET", "HEAD", "POST"])
def new_data(request: HttpRequest) -> HttpResponse:
    """Show the upload page, or the mapping page of the file whose hash is in the address.

    POST stores an uploaded file, or saves a mapped file as a data set.
    """
    team = current_team(request)
    if request.method == "POST":
        permissions.require(actors.actor_of(request), "edit", team)
        return _store_upload(request) if request.FILES else _create(request)
    return _mapping_page(request, request.GET) if request.GET.get("file") else _upload_page(request)


@slow
@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """Show ten problems as a run reads them under the mapping in the address."""
    artifact, filename = _file(request, request.GET)
    mapping = datasets.mapping_of(mapping_form.definition_in(request.GET))
    context: dict[str, Any] = {
        "issues": [issue.message for issue in mapping.issues],
        "readings": [],
    }
    try:
        readings, choice_answers = datasets.read(artifact.team, _path(artifact), filename, mapping)
        answers = [reading.answer for reading in readings]
        context |= {
            "readings": readings,
            "choice_answers": choice_answers,
            "format_hint": mapping_form.format_hint(mapping.verifier, answers),
        }
    except (ProblemError, VerifierError) as error:
        context["issues"] = [str(error)]
    return render(request, "data/_preview.html", context)


def _store_upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES.get("file")
    if file is None:
        return _upload_page(request, "Choose a file.")
    try:
        artifact = datasets.keep(current_team(request), file)
    except ProblemError as error:
        return _upload_page(request, str(error))
    address = urlencode({"file": artifact.sha256, "filename": uploads.shown_name(file.name or "")})
    return uploads.created(request, f"{reverse('new_data')}?{address}")


def _create(request: HttpRequest) -> HttpResponse:
    if "file" not in request.POST:
        return _upload_page(request, "Choose a file.")
    artifact, filename = _file(request, request.POST)
    mapping = datasets.mapping_of(mapping_form.definition_in(request.POST))
    if mapping.issues:
        return _mapping_page(request, request.POST, mapping.issues)
    try:
        _require_new_name(request, current_team(request), request.POST.get("name", ""))
        reading = data_readings.begin(
            current_team(request),
            actors.actor_of(request).user,
            request.POST.get("name", ""),
            artifact,
            filename,
            mapping,
        )
    except ProblemError as error:
        return _mapping_page(
            request,
            request.POST,
            problem=str(error),
            asks_for_name=isinstance(error, NameTaken),
        )
    return redirect("data_reading", reading.pk)


def _require_new_name(request: HttpRequest, team: Team, *names: str) -> None:
    """Raise NameTaken if the team has data sets of these names and the form does not allow it."""
    if "same_name" in request.POST:
        return
    slugs = [datasets.name_of(name) for name in names]
    others = permissions.visible(actors.actor_of(request), DataSet).filter(
        team=team, name__in=slugs
    )
    if others:
        described = ", ".join(
            f"“{other.name}” ({other.problem_count:,} problems, saved {other.created_at:%Y-%m-%d})"
            for other in others.order_by("name", "pk")[:MOST_NAMED]
        )
        raise NameTaken(
            f"The team already has {described}. Saved under the same name, other problems become a "
            "second data set that only its fingerprint tells apart; the same problems get this "
            "mapping. Choose another name, or confirm it below."
        )


@require_safe
def data_reading(request: HttpRequest, reading_id: int) -> HttpResponse:
    """Show how far a file has been read, then its data set, or the mapping and what is wrong."""
    reading = permissions.find(actors.actor_of(request), "view", DataReading, pk=reading_id)
    if reading.ended_at is None:
        data_readings.READINGS.start_if_waiting(reading)
        return render(request, "data/reading.html", {"reading": reading})
    address = reverse("data_set", args=[reading.source.pk]) if reading.source else request.path
    if data := reading.data_set:
        address = reverse("data_set", args=[data.pk])
        _tell_saved(request, data)
    # A script that follows a redirect would put the other page into this one.
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": address})
    if data:
        return redirect(address)
    if reading.source:
        messages.error(request, reading.problem)
        return redirect("data_set", reading.source.pk)
    fields = _mapping_query(reading)
    fields["name"] = reading.name
    try:
        return _mapping_page(request, fields, problem=reading.problem)
    except Http404:
        # The file itself is gone.
        return _upload_page(request, reading.problem)


def _tell_saved(request: HttpRequest, data: DataSet) -> None:
    rows = [LeftOut(**left_out) for left_out in data.survey.get("left_out", ())]
    left_out = "".join(f" {row.sentence}." for row in rows)
    messages.success(
        request,
        f"{data.name} is saved: {data.problem_count:,} "
        f"problem{pluralize(data.problem_count)}.{left_out}",
    )
    if unreadable := datasets.unreadable_references(data):
        messages.warning(request, f"{unreadable} {UNREADABLE_ANSWERS}")


def _upload_page(request: HttpRequest, problem: str = "") -> HttpResponse:
    return render(
        request,
        "data/new.html",
        {"problem": problem, "may_edit": permissions.may_in_team(actors.actor_of(request), "edit")},
        status=422 if problem else 200,
    )


def _mapping_page(
    request: HttpRequest,
    fields: QueryDict,
    issues: tuple[SpecIssue, ...] = (),
    problem: str = "",
    asks_for_name: bool = False,
) -> HttpResponse:
    artifact, filename = _file(request, fields)
    try:
        inspection, number_format = datasets.look(artifact.team, _path(artifact), filename)
    except ProblemError as error:
        return _upload_page(request, str(error))
    form = mapping_form.form_for(inspection, fields, number_format)
    context = {
        "artifact": artifact,
        "filename": filename,
        "name": fields.get("name") or Path(filename).stem,
        "inspection": inspection,
        "cells": [
            [shortened(row.get(column, "")) for column in inspection.columns]
            for row in inspection.rows[:3]
        ],
        "columns": mapping_form.column_fields(form, inspection, issues),
        "verifier": mapping_form.verifier_fields(form, issues),
        "problem": problem,
        "asks_for_name": asks_for_name,
        "may_edit": permissions.may_in_team(actors.actor_of(request), "edit"),
    }
    return render(request, "data/mapping.html", context, status=422 if problem or issues else 200)


def _file(request: HttpRequest, fields: QueryDict) -> tuple[Artifact, str]:
    """Return the uploaded file that a request names by its hash, and its file name.

    Raises Http404 if the person's team has no such file.
    """
    # The hash becomes part of a path in the store, so nothing else may pass.
    sha256 = fields.get("file", "")
    if not SHA256.fullmatch(sha256):
        raise Http404("no such file")
    # A person may be in several teams that store the same file: the current one's is meant.
    artifact = permissions.find(
        actors.actor_of(request), "view", Artifact, sha256=sha256, team=current_team(request)
    )
    return artifact, uploads.shown_name(fields.get("filename", ""))


def _path(artifact: Artifact) -> Path:
    try:
        return artifacts.path(artifact.team, artifact.sha256)
    except FileNotFoundError:
        raise Http404("the file is no longer in the store") from None
