"""The pages of jobs: the list, the form, and one job with its results so far."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from trainer import plain_yaml
from trainer.spec import SpecError, SpecIssue, SplitProblems
from trainer.spec.jobs import JobSpec, TeacherScores, load_job
from webapp.access import actors, permissions
from webapp.access.models import Team
from webapp.access.permissions import current_team
from webapp.base.view_marks import slow
from webapp.definition import job_checks, job_form
from webapp.definition import run_form as run_forms
from webapp.definition.job_form import JobLayout
from webapp.definition.run_form import FormData
from webapp.jobs import lifecycle, progress
from webapp.jobs.models import Job, State
from webapp.jobs.results import tally_of
from webapp.library import locations
from webapp.library.models import DataSet
from webapp.nodes.models import Device
from webapp.pages.jobs.result_figures import figures_of
from webapp.pages.query_numbers import bigint
from webapp.runs.lookup import find_run
from webapp.runs.models import Run
from webapp.runs.transitions import TransitionRefused

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
    "teacher_scores": (
        "Teacher scores",
        "What a model says of each token of the solutions, as a file that the teacher “scores” "
        "reads.",
    ),
    "evaluation": (
        "Evaluation",
        (
            "A model or a checkpoint on a benchmark: pass rate with interval, pass@k, lengths, "
            "calibration."
        ),
    ),
}
# For the team's own data. Half of the longest text that the built-in models read.
LONGER_ANSWERS = {"sampling": {"max_new_tokens": 128}}


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    listed_jobs = (
        permissions.visible(actors.actor_of(request), Job)
        .filter(team=current_team(request))
        .select_related("owner", "team")
        .order_by("-created_at")[:MOST_LISTED]
    )
    progresses = progress.progress_by_job(listed_jobs)
    rows = [
        {
            "job": job,
            "kind": KINDS[job.kind][0],
            "progress": progresses[job.pk],
            "result": tally_of(job),
        }
        for job in listed_jobs
    ]
    return render(request, "jobs/list.html", {"rows": rows, "kinds": KINDS.items()})


@slow
@require_http_methods(["GET", "HEAD", "POST"])
def new_job(request: HttpRequest) -> HttpResponse:
    """GET shows the form, filled from the address; POST starts the job or shows the form again."""
    team = current_team(request)
    if request.method != "POST":
        return _form(request, job_form.form_from(_spec_from_address(request)))
    permissions.require(actors.actor_of(request), "start", team)
    form = run_forms.normalised(request.POST)
    spec, issues = _checked(form, team)
    if spec is None or issues:
        return _form(request, form, issues)
    devices = permissions.visible(actors.actor_of(request), Device).filter(retired=False).count()
    job = lifecycle.create_job(
        team, actors.actor_of(request).user, spec, progress.count_problems(spec, team), devices
    )
    return redirect("job", job.public_id)


@slow
@require_POST
def check_job(request: HttpRequest) -> HttpResponse:
    """Show the side panel for the form: issues, how much work the job is, and its YAML."""
    team = current_team(request)
    form = run_forms.normalised(request.POST)
    spec, issues = _checked(form, team)
    layout = job_form.build_layout(form, issues, job_form.choices_of(team))
    return render(request, "jobs/_check.html", _panel(spec, layout, team))


@require_safe
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    shown_job = _find(request, job_id)
    actor = actors.actor_of(request)
    tally = tally_of(shown_job)
    context = {
        "job": shown_job,
        "kind": KINDS[shown_job.kind][0],
        "progress": progress.progress_by_job([shown_job])[shown_job.pk],
        "parts": progress.parts_of(shown_job),
        "tally": tally,
        "figures": figures_of(load_job(shown_job.spec), tally) if tally.problems else None,
        "settings": _summary(shown_job),
        "running": shown_job.state == State.RUNNING,
        "may": {
            action: permissions.may(actor, action, shown_job)
            for action in ("edit", "start", "stop", "download")
        },
    }
    return render(request, "jobs/job.html", context)


@require_POST
def stop_job(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    running_job = _find(request, job_id, "stop")
    try:
        lifecycle.stop(running_job)
    except TransitionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("job", running_job.public_id)


@require_POST
def delete_job(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    ended_job = _find(request, job_id, "edit")
    try:
        lifecycle.delete(ended_job)
    except TransitionRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("job", ended_job.public_id)
    messages.success(request, f"“{ended_job.name}” was deleted.")
    return redirect("jobs")


def _checked(form: FormData, team: Team) -> tuple[JobSpec | None, list[SpecIssue]]:
    """Return the job that a form describes, None if it is not valid, and what is wrong with it."""
    try:
        spec = load_job(job_form.spec_from(form))
    except SpecError as error:
        return None, list(error.issues)
    return spec, job_checks.validate_references(spec, team)


def _panel(spec: JobSpec | None, layout: JobLayout, team: Team) -> dict[str, Any]:
    """Return the template context of the side panel."""
    problems = progress.count_problems(spec, team) if spec else None
    answers = problems * spec.samples if spec and problems else None
    return {
        "spec": spec,
        "issues": layout.issues,
        "problems": problems,
        "answers": answers,
        "tokens": answers * spec.sampling.max_new_tokens if spec and answers else None,
        "yaml": plain_yaml.dump(spec.model_dump(mode="json")) if spec else "",
    }


def _find(request: HttpRequest, job_id: str, action: permissions.Action = "view") -> Job:
    return permissions.find(actors.actor_of(request), action, Job, public_id=job_id)


def _form(request: HttpRequest, form: FormData, issues: Any = ()) -> HttpResponse:
    team = current_team(request)
    if not issues:
        spec, found = _checked(form, team)
    else:
        spec, found = None, list(issues)
    layout = job_form.build_layout(form, issues, job_form.choices_of(team))
    panel_layout = job_form.build_layout(form, found, job_form.choices_of(team))
    context = {
        **_panel(spec, panel_layout, team),
        "layout": layout,
        "titles": {kind: words[0] for kind, words in KINDS.items()},
        "kinds": KINDS.items(),
        "current": form.get("work.kind"),
        "query": request.GET.urlencode(),
        "mode": "expert"
        if "expert" in (request.POST.get("mode"), request.GET.get("mode"))
        else "simple",
        "may_start": permissions.may_in_team(actors.actor_of(request), "start"),
    }
    return render(request, "jobs/new.html", context, status=422 if issues else 200)


def _spec_from_address(request: HttpRequest) -> dict[str, Any]:
    """The part of a definition that the query names: kind, data set, checkpoint or earlier job.

    Raises Http404 if one of them does not exist.
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
        # No row has the key 0, so a text that is no number is answered as an unknown data set.
        data_set = permissions.find(actor, "view", DataSet, pk=bigint(data) or 0)
        spec |= {
            "problems": {
                "kind": "file",
                "path": locations.uri_of_data(data_set),
                "columns": data_set.columns,
            },
            **LONGER_ANSWERS,
        }
        spec |= {"verifier": data_set.verifier} if data_set.verifier else {}
        about = data_set.name
    if run := query.get("run"):
        trained_run = find_run(actor, "view", run)
        about = f"{trained_run.name} on {about}"
        spec["model"] = {
            "kind": "checkpoint",
            "checkpoint": f"checkpoint:{run}@{query.get('step', '')}",
        }
        spec |= _evaluation_settings(trained_run) if not data else {}
    elif kind in ("teacher_answers", "teacher_scores"):
        spec["model"] = {"kind": "model", "model": "builtin:teacher"}
    # A name has at most 120 characters, in the definition and in the database.
    return {**spec, "name": f"{KINDS[kind][0]}: {about}"[:120]}


def _evaluation_settings(run: Run) -> dict[str, Any]:
    """Problems, prompt, verifier and sampling of a run's evaluation, as far as it defines them."""
    spec = run.spec or {}
    data, sampling = spec.get("data", {}), spec.get("evaluation", {}).get("sampling")
    # Where a definition says nothing, its evaluation is a split: the default of the spec.
    held_out = {"kind": "split", **data.get("evaluation", {})}
    settings = {name: data[name] for name in ("prompt", "verifier", "confidence") if name in data}
    if held_out["kind"] == "split":
        share = held_out.get("share", SplitProblems().share)
        settings |= {"problems": data.get("train", {"kind": "arithmetic"}), "held_out_share": share}
    else:
        settings |= {"problems": held_out}
    return settings | ({"sampling": sampling} if sampling else {})


def _problems_text(spec: JobSpec) -> str:
    text = getattr(spec.problems, "path", None) or "built-in arithmetic"
    share = spec.held_out_share
    return text if share is None else f"{text}, the {share:.4g} of them that runs hold out"


def _summary(job: Job) -> list[tuple[str, Any]]:
    """The settings of the job that its page lists."""
    spec: JobSpec = load_job(job.spec)
    settings = [
        ("Model", getattr(spec.model, "checkpoint", None) or getattr(spec.model, "model", "")),
        ("Problems", _problems_text(spec)),
    ]
    if isinstance(spec.work, TeacherScores):
        longest = f"{spec.sampling.max_new_tokens:,} tokens"
        return [*settings, ("k", spec.work.k), ("Longest solution", longest)]
    return [
        *settings,
        ("Answers per problem", spec.samples),
        ("Longest answer", f"{spec.sampling.max_new_tokens:,} tokens"),
        ("Temperature", f"{spec.sampling.temperature:g}"),
        ("Verifier", spec.verifier.kind),
        ("Seed", spec.seed),
    ]
