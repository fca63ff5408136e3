"""Evaluation jobs of a run's checkpoint count as evaluations of the run.

Runs that were recorded without results by problem can so be compared after all.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from django.conf import settings
from django.db import transaction

from trainer.spec.jobs import CheckpointModel, JobSpec, load_job
from trainer.text.evaluation.conditions import conditions
from trainer.text.problems import ProblemError, load_part
from trainer.text.recording import side_files
from trainer.text.recording.evaluation_answers import KeptAnswers, kept_answer
from webapp.access.models import Team
from webapp.jobs import results
from webapp.jobs.models import Job
from webapp.library import artifacts, bounded_process, data_files, locations
from webapp.library.locations import LocationError
from webapp.runs import branches
from webapp.runs.models import Checkpoint, Evaluation

READING_SECONDS = 600.0
PARQUET = "application/vnd.apache.parquet"


def record(job: Job) -> Evaluation | None:
    """Store the results by problem of a completed evaluation job; repeating it changes nothing.

    None for other jobs, and where the checkpoint or the problems are gone: nothing could then be
    compared with the results.
    """
    spec = load_job(job.spec)
    if job.kind != "evaluation" or not isinstance(spec.model, CheckpointModel):
        return None
    checkpoint = _checkpoint(job.team, spec.model.checkpoint)
    fingerprint = _fingerprint(job.team, spec)
    if checkpoint is None or fingerprint is None:
        return None
    sha256, count = _store_table(job)
    run = checkpoint.run
    # Of those that no later attempt has abandoned.
    live = run.checkpoints.filter(branches.on_live_branch(run))
    is_last = not live.filter(step__gt=checkpoint.step).exists()
    with transaction.atomic():
        evaluation, _ = Evaluation.objects.update_or_create(
            run=run,
            attempt=checkpoint.attempt,
            seq=checkpoint.seq,
            job=job.public_id,
            defaults={
                "step": checkpoint.step,
                "role": "evaluation",
                "when": Evaluation.When.AFTER if is_last else Evaluation.When.DURING,
                "set_fingerprint": fingerprint,
                "conditions": conditions(
                    spec.verifier, spec.prompt, spec.confidence, spec.sampling
                ),
                "problem_count": count,
                "artifact": sha256,
            },
        )
    return evaluation


def _checkpoint(team: Team, uri: str) -> Checkpoint | None:
    """Return the checkpoint of `checkpoint:<run>@<step>`, of a resumed run the newest one."""
    name, _, step = uri.removeprefix("checkpoint:").rpartition("@")
    if not uri.startswith("checkpoint:") or not step.isdecimal() or len(step) > 18:
        return None
    checkpoints = Checkpoint.objects.filter(run__team=team, run__public_id=name, step=int(step))
    return checkpoints.select_related("run").order_by("-attempt").first()


def _fingerprint(team: Team, spec: JobSpec) -> str | None:
    source = spec.problems
    if source.kind == "arithmetic":
        return load_part(source, spec.held_out_share).fingerprint
    try:
        path = locations.data_path(source.path, team)
        if path is None or not path.is_file():
            return None
        fingerprint: str = bounded_process.run(
            data_files.fingerprint,
            path,
            source,
            spec.held_out_share,
            seconds=READING_SECONDS,
        )
    except (LocationError, ProblemError, FileNotFoundError):
        return None
    return fingerprint


def _store_table(job: Job) -> tuple[str, int]:
    """Store the counts of each problem, and answers to it, as an artifact.

    Return its hash and number of rows. A job that kept no texts has no answers.
    """
    ids: list[str] = []
    passed: list[int] = []
    judged: list[int] = []
    kept = KeptAnswers()
    for line in results.lines(job):
        verdicts = [answer["verdict"] for answer in line["answers"]]
        verdicts = [verdict for verdict in verdicts if verdict is not None]
        ids.append(line["id"])
        passed.append(sum(verdicts))
        judged.append(len(verdicts))
        kept.add(
            [
                kept_answer(
                    sample,
                    answer["verdict"],
                    answer["truncated"],
                    answer["tokens"],
                    answer["read"],
                    answer["text"],
                )
                for sample, answer in enumerate(line["answers"])
                if "text" in answer
            ]
        )
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
        table = side_files.result_table(ids, np.array(passed), np.array(judged), kept.rows)
        file = side_files.write(Path(folder), table)
        artifact = artifacts.put(Path(folder) / file["name"], job.team, PARQUET)
    return artifact.sha256, len(ids)
