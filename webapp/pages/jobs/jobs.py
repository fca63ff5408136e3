"""The pages of jobs: the list, the form, and one job with what it has found so far."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from trainer.spec import SpecError
from trainer.spec.jobs import JobSpec, load_job
from webapp.access import access, actors
from webapp.access.access import current_team
from webapp.definition import job_checks, job_form
from webapp.definition import run_form as run_forms
from webapp.definition.run_form import FormData
from webapp.jobs import lifecycle, progress
from webapp.jobs.models import Job, State
from webapp.jobs.results import tally_of
from webapp.library import locations
from webapp.library.models import DataSet
from webapp.nodes.models import Device
from webapp.pages.jobs.result_figures import figures_of
from webapp.runs.lookup import find_run
from webapp.runs.models import Run
from webapp.runs.transitions import TransitionRefused

PARTED = (
    "This run holds out a part of its training data, which a job cannot name by itself. "
    "Choose problems that the run has not seen: "
    "those below may be among the ones that it was trained on, and a pass rate on such is "
    "no measure of what it has learnt."
)
ID = re.compile(r"[0-9]{1,18}")
MOST_LISTED = 200
KINDS = {
    "pass_rates": (
        "Pass rates",
        "How often a model solves each problem: mastered, frontier, hopeless.",
    ),
    "teacher_answers": (
        "Teacher answers",
        "An answer to every problem, as a data set that the teacher “texts” reads.",
    ),
    "evaluation": (
        "Evaluation",
        (
            "A model or a checkpoint on a benchmark: pass rate with interval, pass@k, lengths, "
            "calibration."
        ),
    ),
}
LONGER = {"sampling": {"max_new_tokens": 128}}
"""Of data of the team's own; half of what the built-in models read."""


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    actor = actors.actor_of(request)
    found = (
        access.visible(actor, Job)
        .filter(team=current_team(request))
        .select_related("owner", "team")
        .order_by("-created_at")[:MOST_LISTED]
    )
    progresses = progress.progress_by_job(found)
    rows = [
        {
            "job": job,
            "kind": KINDS[job.kind][0],
            "progress": progresses[job.pk],
            "result": tally_of(job),
        }
        for job in found
    ]
    return render(request, "jobs/list.html", {"rows": rows, "kinds": KINDS.items()})


@require_http_methods(["GET", "HEAD", "POST"])
def new_job(request: HttpRequest) -> HttpResponse:
    """GET shows the form for a kind of work, data set, model, checkpoint or earlier job; POST
    starts it, or shows the form again.
    """
    team = current_team(request)
    if request.method != "POST":
        return _form(request, job_form.form_from(_asked_for(request)))
    access.require(actors.actor_of(request), "start", team)
    sent = run_forms.normalised(request.POST)
    try:
        spec = load_job(job_form.spec_from(sent))
        issues = job_checks.validate_references(spec, team)
    except SpecError as error:
        issues = list(error.issues)
    if issues:
        return _form(request, sent, issues)
    devices = access.visible(actors.actor_of(request), Device).filter(retired=False).count()
    job = lifecycle.create_job(
        team, actors.actor_of(request).user, spec, progress.count_problems(spec, team), devices
    )
    return redirect("job", job.public_id)


@require_safe
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    found = _find(request, job_id)
    actor = actors.actor_of(request)
    tally = tally_of(found)
    context = {
        "job": found,
        "kind": KINDS[found.kind][0],
        "progress": progress.progress_of(found),
        "parts": progress.parts_of(found),
        "tally": tally,
        "figures": figures_of(load_job(found.spec), tally) if tally.problems else None,
        "asked": _asked(found),
        "running": found.state == State.RUNNING,
        "may": {
            action: access.may(actor, action, found)
            for action in ("edit", "start", "stop", "download")
        },
    }
    return render(request, "jobs/job.html", context)


@require_POST
def stop_job(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    found = _find(request, job_id, "stop")
    try:
        lifecycle.stop(found)
    except TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("job", found.public_id)


@require_POST
def delete_job(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    found = _find(request, job_id, "edit")
    try:
        lifecycle.delete(found)
    except TransitionRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("job", found.public_id)
    messages.success(request, f"“{found.name}” was deleted.")
    return redirect("jobs")


def _find(request: HttpRequest, job_id: str, action: access.Action = "view") -> Job:
    return access.find(actors.actor_of(request), action, Job, public_id=job_id)


def _form(request: HttpRequest, sent: FormData, issues: Any = ()) -> HttpResponse:
    layout = job_form.build_layout(sent, issues, job_form.choices_of(current_team(request)))
    context = {
        "layout": layout,
        "kinds": KINDS.items(),
        "current": sent.get("work.kind"),
        "query": request.GET.urlencode(),
        "mode": "expert"
        if "expert" in (request.POST.get("mode"), request.GET.get("mode"))
        else "simple",
        "may_start": access.may_in_team(actors.actor_of(request), "start"),
        "caution": _caution(request),
    }
    return render(request, "jobs/new.html", context, status=422 if issues else 200)


def _asked_for(request: HttpRequest) -> dict[str, Any]:
    """The job that the address asks for, as far as it goes. Raises Http404 for what there is
    not.
    """
    query, actor = request.GET, actors.actor_of(request)
    if like := query.get("like"):
        return dict(_find(request, like).spec)
    kind = query.get("kind", "pass_rates")
    if kind not in KINDS:
        raise Http404("there is no such kind of job")
    spec: dict[str, Any] = {"work": {"kind": kind}}
    about = "built-in arithmetic"
    if data := query.get("data"):
        found = access.find(actor, "view", DataSet, pk=int(data) if ID.fullmatch(data) else 0)
        spec |= {
            "problems": {
                "kind": "file",
                "path": locations.uri_of_data(found),
                "columns": found.columns,
            },
            **LONGER,
        }
        spec |= {"verifier": found.verifier} if found.verifier else {}
        about = found.name
    if run := query.get("run"):
        about = f"{find_run(actor, 'view', run).name} on {about}"
        spec["model"] = {
            "kind": "checkpoint",
            "checkpoint": f"checkpoint:{run}@{query.get('step', '')}",
        }
        spec |= _as_measured(find_run(actor, "view", run)) if not data else {}
    elif kind == "teacher_answers":
        spec["model"] = {"kind": "model", "model": "builtin:teacher"}
    return {**spec, "name": f"{KINDS[kind][0]}: {about}"[:120]}


def _caution(request: HttpRequest) -> str:
    """What to know of a job on a run's model before it starts."""
    run = request.GET.get("run")
    if not run or request.GET.get("data"):
        return ""
    spec = find_run(actors.actor_of(request), "view", run).spec or {}
    return (
        PARTED if spec.get("data", {}).get("evaluation", {}).get("kind", "split") == "split" else ""
    )


def _as_measured(run: Run) -> dict[str, Any]:
    """The problems, prompt, verifier and sampling that a run is evaluated with, where its
    definition names them.
    """
    spec = run.spec or {}
    data, sampling = spec.get("data", {}), spec.get("evaluation", {}).get("sampling")
    held_out = data.get("evaluation", {})
    kept = {name: data[name] for name in ("prompt", "verifier", "confidence") if name in data}
    kept |= {"problems": held_out} if held_out.get("kind") in ("file", "arithmetic") else {}
    return kept | ({"sampling": sampling} if sampling else {})


def _asked(found: Job) -> list[tuple[str, Any]]:
    """What was asked for, in short."""
    spec: JobSpec = load_job(found.spec)
    model = getattr(spec.model, "checkpoint", None) or getattr(spec.model, "model", "")
    problems = getattr(spec.problems, "path", None) or "built-in arithmetic"
    return [
        ("Model", model),
        ("Problems", problems),
        ("Answers per problem", spec.samples),
        ("Longest answer", f"{spec.sampling.max_new_tokens:,} tokens"),
        ("Temperature", f"{spec.sampling.temperature:g}"),
        ("Verifier", spec.verifier.kind),
        ("Seed", spec.seed),
    ]
