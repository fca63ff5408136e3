"""The team's data sets: upload a file, say what its columns mean, see ten problems as the verifier
reads them, keep it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from trainer.spec import SpecIssue
from trainer.text.problems import Inspection, ProblemError
from trainer.text.verifiers import VerifierError
from webapp.access import access, actors
from webapp.access.access import current_team
from webapp.definition import mapping_form
from webapp.definition import run_form as forms
from webapp.definition.form_fields import shortened
from webapp.library import artifacts, locations, uploads
from webapp.library import data_sets as datasets
from webapp.library.models import Artifact, DataSet
from webapp.pages.library import delete_uploads

SHA256 = re.compile(r"[0-9a-f]{64}")
NOTHING_READABLE = (
    "The verifier can read none of the first answers, so it can judge none. Map "
    "another column or choose another verifier."
)


@require_safe
def data_sets(request: HttpRequest) -> HttpResponse:
    team = current_team(request)
    found = (
        access.visible(actors.actor_of(request), DataSet)
        .filter(team=team)
        .select_related("artifact", "created_by")
        .order_by("name", "-created_at")
    )
    return render(request, "data/list.html", {"data_sets": found})


@require_safe
def data_set(request: HttpRequest, data_id: int) -> HttpResponse:
    found = access.find(actors.actor_of(request), "view", DataSet, pk=data_id)
    form = forms.form_from(
        {"data": {"train": {"kind": "file", "columns": found.columns}, "verifier": found.verifier}}
    )
    query = {"file": found.artifact.sha256, "filename": found.filename} | {
        name: forms.last_value(form, name)
        for name in form
        if name.startswith(mapping_form.PREFIXES)
    }
    context = {
        "data": found,
        "uri": locations.uri_of_data(found),
        "preview_query": urlencode(query),
    }
    return render(request, "data/data_set.html", context)


@require_POST
def delete_data(request: HttpRequest, data_id: int) -> HttpResponse:
    found = access.find(actors.actor_of(request), "edit", DataSet, pk=data_id)
    try:
        delete_uploads.delete(found)
    except delete_uploads.InUse as refusal:
        messages.error(request, str(refusal))
        return redirect("data_set", data_id)
    messages.success(request, f"{found.name} was deleted.")
    return redirect("data")


@require_http_methods(["GET", "HEAD", "POST"])
def new_data(request: HttpRequest) -> HttpResponse:
    """Without a file: the upload. With one (its hash in the address): the mapping, which POST keeps
    as a data set.
    """
    team = current_team(request)
    if request.method == "POST":
        access.require(actors.actor_of(request), "edit", team)
        return _keep_upload(request) if request.FILES else _create(request)
    return _mapping_page(request, request.GET) if request.GET.get("file") else _upload_page(request)


@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """Ten problems as the run will see them, under the mapping in the address."""
    artifact, filename = _file(request, request.GET)
    mapping = datasets.mapping_of(mapping_form.definition_in(request.GET))
    context: dict[str, Any] = {
        "issues": [issue.message for issue in mapping.issues],
        "readings": [],
    }
    try:
        context["readings"] = datasets.read(_path(artifact), filename, mapping)
    except (ProblemError, VerifierError) as error:
        context["issues"] = [str(error)]
    return render(request, "data/_preview.html", context)


def _keep_upload(request: HttpRequest) -> HttpResponse:
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
        kept, survey = datasets.create(
            current_team(request),
            actors.actor_of(request).user,
            request.POST.get("name", ""),
            artifact,
            filename,
            mapping,
        )
    except ProblemError as error:
        return _mapping_page(request, request.POST, said=str(error))
    left_out = f" {survey.repeats:,} repeated rows were left out." if survey.repeats else ""
    messages.success(
        request,
        f"{kept.name} is kept: {survey.count:,} problem{pluralize(survey.count)}.{left_out}",
    )
    if not any(reading.reference for reading in datasets.read(_path(artifact), filename, mapping)):
        messages.warning(
            request,
            (
                "The verifier can read none of the first answers, so it can judge none. Map "
                "another column or choose another verifier."
            ),
        )
    return redirect("data_set", kept.pk)


def _upload_page(request: HttpRequest, problem: str = "") -> HttpResponse:
    context = {"problem": problem, "may_edit": access.may_in_team(actors.actor_of(request), "edit")}
    return render(request, "data/new.html", context, status=422 if problem else 200)


def _mapping_page(
    request: HttpRequest, sent: QueryDict, issues: tuple[SpecIssue, ...] = (), said: str = ""
) -> HttpResponse:
    artifact, filename = _file(request, sent)
    try:
        found = datasets.inspect(_path(artifact), filename)
    except ProblemError as error:
        return _upload_page(request, str(error))
    form = mapping_form.form_for(found, sent)
    context = {
        "artifact": artifact,
        "filename": filename,
        "name": sent.get("name") or Path(filename).stem,
        "inspection": found,
        "cells": _cells(found),
        "columns": mapping_form.column_fields(form, found, issues),
        "verifier": mapping_form.verifier_fields(form, issues),
        "problem": said,
        "may_edit": access.may_in_team(actors.actor_of(request), "edit"),
    }
    return render(request, "data/mapping.html", context, status=422 if said or issues else 200)


def _cells(found: Inspection) -> list[list[str]]:
    """The first rows as they stand in the file, shortened."""
    return [[shortened(row.get(column, "")) for column in found.columns] for row in found.rows[:3]]


def _file(request: HttpRequest, sent: QueryDict) -> tuple[Artifact, str]:
    """The uploaded file that a request names by its hash. Raises Http404 if the person's team has
    none.
    """
    sha256 = sent.get("file", "")
    if not SHA256.fullmatch(sha256):
        raise Http404("no such file")
    return access.find(
        actors.actor_of(request), "view", Artifact, sha256=sha256, team=current_team(request)
    ), uploads.shown_name(sent.get("filename", ""))


def _path(artifact: Artifact) -> Path:
    try:
        return artifacts.path(artifact.team, artifact.sha256)
    except FileNotFoundError:
        raise Http404("the file is no longer in the store") from None
