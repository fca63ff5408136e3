"""Base students of experiments, trained on this host: `python -m trainer base`, one at a time.

    python -m workers bases

The runner takes the bases that runs wait for one after the other and ends when there are none. It
is a detached process. If it dies, the training goes on, and the next runner here continues with it;
runners of other machines take the base when it has been silent for a while.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from functools import partial
from pathlib import Path

from django.conf import settings

from trainer.experiments import definition
from trainer.experiments.folders import base_folder, bases_folder
from trainer.text.problems import ProblemError
from webapp.experiments import bases, reproduction
from webapp.experiments.models import BaseStudent
from webapp.library import artifacts, data_sets, locations, model_files, stored_models
from webapp.library.model_files import UnusableModel
from webapp.nodes.models import Node
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.detached import start_detached
from workers.machine import host

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0
# A line such as `student-8: step 300 of 900, loss 1.234`.
PROGRESS = re.compile(r"step \d+ of \d+")


def start_runner() -> None:
    """Start a runner if a base waits and this host has none."""
    if bases.waiting().exists() and not _is_draining():
        start_detached(_home(), "runner", "bases")


def run_waiting() -> None:
    """Train the bases that runs wait for until there are none."""
    _remove_abandoned()
    while not retry_on_outage(_is_draining) and (base := retry_on_outage(bases.claim_next)):
        train(base)


def train(base: BaseStudent) -> None:
    """Train a claimed base, store it and queue what waits for it.

    If no run waits for it any more, it is ended.
    """
    if base.model and retry_on_outage(partial(bases.is_ready, base)):
        retry_on_outage(partial(reproduction.finish_base, base, base.model, base.files))
        return
    folder = _home() / str(base.pk)
    process = TrainerProcess(folder)
    if not process.started():
        folder.mkdir(parents=True, exist_ok=True)
        process.start(
            ["base", base.name, "--seed", str(base.seed), "--dir", str(folder)],
            # A base must come out the same, whatever else runs.
            {"OMP_NUM_THREADS": "1"},
        )
    if not _follow(base, process):
        process.kill()
        retry_on_outage(partial(bases.release, base))
    elif (target := base_folder(bases_folder(folder), base.name, base.seed)).is_dir():
        _store(base, target)
    else:
        lines = process.output().strip().splitlines() or ["it printed nothing"]
        problem = f"The training of the base student ended early: {lines[-1].strip()[:300]}"
        retry_on_outage(partial(reproduction.fail_base, base, problem))
    shutil.rmtree(folder, ignore_errors=True)


def _follow(base: BaseStudent, process: TrainerProcess) -> bool:
    """Wait for the end of the training; False if it is not wanted any more."""
    renewed_at = 0.0
    while not process.ended():
        if time.monotonic() - renewed_at >= HEARTBEAT_SECONDS:
            renewed_at = time.monotonic()
            found = PROGRESS.findall(process.output())
            progress = found[-1] if found else ""
            if not retry_on_outage(partial(bases.heartbeat, base, progress)):
                return False
        time.sleep(POLL_SECONDS)
    return True


def _store(base: BaseStudent, folder: Path) -> None:
    """Make model and data files of the base things of its team."""
    name = f"base-{base.name}-{base.seed}"
    files = {
        file: path
        for file, path in model_files.folder_at(folder).items()
        if stored_models.is_kept(file)
    }
    try:
        model = retry_on_outage(partial(stored_models.store_files, base.team, None, name, files))
        data = {
            path.name: retry_on_outage(partial(_store_data, base, path))
            for path in sorted(folder.glob("*.jsonl"))
        }
    except (UnusableModel, ProblemError, OSError) as error:
        log.warning("the base %s could not be stored: %s", base, error)
        problem = f"The base student could not be stored: {error}"
        retry_on_outage(partial(reproduction.fail_base, base, problem))
        return
    retry_on_outage(partial(reproduction.finish_base, base, model, data))


def _store_data(base: BaseStudent, path: Path) -> str:
    """Store a data file of the base, which is the same for every seed; return its location."""
    mapping = data_sets.mapping_of({"data": _data_of(base.name, path.name)})
    artifact = artifacts.put(path, base.team, data_sets.MEDIA_TYPES["jsonl"])
    name = f"base-{base.name}-{path.stem}"
    return locations.uri_of_data(
        data_sets.create(base.team, None, name, artifact, path.name, mapping)
    )


def _data_of(base: str, file: str) -> dict[str, object]:
    """Return the `data` section of the shipped experiment whose training set the file is.

    Raises ProblemError if there is none.
    """
    for experiment in map(definition.load, definition.names()):
        if file in experiment.base_files(base):
            arm = next(iter(experiment.arms))
            data: dict[str, object] = experiment.located_definition(
                arm, 0, lambda name, file: f"file:/{name}/{file}"
            )["data"]
            return data
    raise ProblemError(f"no experiment reads {file} of the base {base}")


def _remove_abandoned() -> None:
    """End and delete what earlier runners here left of bases that nobody waits for."""
    wanted = {str(pk) for pk in bases.wanted().values_list("pk", flat=True)}
    for folder in _home().glob("[0-9]*"):
        if folder.name not in wanted:
            TrainerProcess(folder).kill()
            shutil.rmtree(folder, ignore_errors=True)


def _is_draining() -> bool:
    """Return whether nothing more is to be started on this host."""
    return Node.objects.filter(name=host.name(), draining=True).exists()


def _home() -> Path:
    return Path(settings.STILLROOM_STATE) / "bases"
