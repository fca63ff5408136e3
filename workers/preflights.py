"""Preflights on this host: `python -m trainer preflight` for definitions that wait for it.

    python -m workers preflight

The runner takes waiting definitions one after the other and ends when there are none. It is a
detached process, so that a Celery task returns at once; if it dies, another worker takes its
definition after the time that a check may need.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

import trainer.spec
from trainer.text.preflight.findings import Finding, Report, read_report
from webapp.library import locations
from webapp.preflights import preflights
from webapp.preflights.models import Preflight
from workers.attempt.exit_recorder import write_atomically
from workers.attempt.preparation import PreparationError, resolve
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.detached import start_detached

log = logging.getLogger(__name__)
# Definitions that are checked at once on a host, beside its runs.
RUNNERS = 2
POLL_SECONDS = 0.1
# Seconds that the trainer has to start and to write its answer, beyond those of the check.
MARGIN_SECONDS = 30.0


def start_runners() -> None:
    """Start a runner if a definition waits and this host has not enough of them."""
    if preflights.waiting().exists():
        any(start_detached(_home(), f"runner-{number}", "preflight") for number in range(RUNNERS))


def run_waiting() -> None:
    """Check waiting definitions until there are none."""
    while preflight := retry_on_outage(preflights.claim_next):
        retry_on_outage(partial(preflights.finish, preflight, execute(preflight)))


def execute(preflight: Preflight) -> Report:
    """Run the trainer's preflight on a definition and return its answer; never raises for one."""
    folder = _home() / f"{preflight.pk}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    try:
        spec = trainer.spec.to_dict(trainer.spec.load(preflight.spec))
        resolved = resolve(spec, preflight.team)
        folder.mkdir(parents=True)
        write_atomically(folder / "spec.json", resolved)
        report = _run(folder)
        return _with_names(report, spec, resolved, preflight)
    except PreparationError as error:
        refusal = Finding("refused", "data", "", str(error))
        return Report((refusal,), True, time.monotonic() - started)
    except (trainer.spec.SpecError, OSError) as error:
        log.warning("the preflight %d could not be made: %s", preflight.pk, error)
        return _not_finished(f"The check could not be started ({error}).", started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path) -> Report:
    process, answer, started = TrainerProcess(folder), folder / "answer.json", time.monotonic()
    seconds = settings.STILLROOM_PREFLIGHT_SECONDS
    process.start(
        [
            "preflight",
            str(folder / "spec.json"),
            "--seconds",
            str(seconds),
            "--out",
            str(answer),
        ],
        {"OMP_NUM_THREADS": "1"},
    )
    while not process.ended() and time.monotonic() - started < seconds + MARGIN_SECONDS:
        time.sleep(POLL_SECONDS)
    if not process.ended():
        process.kill()
        limit = seconds + MARGIN_SECONDS
        return _not_finished(f"The check did not end within {limit:g} s.", started)
    report = read_report(answer.read_text(encoding="utf-8")) if answer.exists() else None
    if report:
        return report
    lines = process.output().strip().splitlines()
    cause = f" ({lines[-1].strip()[:200]})" if lines else ""
    return _not_finished(f"The check's process ended without an answer{cause}.", started)


def _not_finished(sentence: str, started: float) -> Report:
    later = "The run makes it itself before its first step."
    finding = Finding("fact", "not_finished", "", f"{sentence} {later}")
    return Report((finding,), False, time.monotonic() - started)


def _with_names(
    report: Report, spec: dict[str, Any], resolved: dict[str, Any], preflight: Preflight
) -> Report:
    """The report with models and files named as in the definition, not by this host's paths."""
    names: dict[str, str] = {}
    for before, after in _changed(spec, resolved):
        path = after.removeprefix("file:")
        data_set = locations.data_set(before, preflight.team)
        # An uploaded file is stored under its hash: name it as its owner does.
        names |= {after: before, path: data_set.filename if data_set else before}
        if data_set:
            names[Path(path).name] = data_set.filename
    findings = []
    for finding in report.findings:
        sentence = finding.sentence
        for path in sorted(names, key=len, reverse=True):
            sentence = sentence.replace(path, names[path])
        findings.append(replace(finding, sentence=sentence))
    return replace(report, findings=tuple(findings))


def _changed(before: Any, after: Any) -> Iterator[tuple[str, str]]:
    """Yield (name in the definition, location on this host) wherever they differ."""
    if isinstance(before, dict):
        for key in before.keys() & after.keys():
            yield from _changed(before[key], after[key])
    elif isinstance(before, list | tuple):
        for old, new in zip(before, after, strict=False):
            yield from _changed(old, new)
    elif isinstance(before, str) and before != after and ":" in before:
        yield before, after


def _home() -> Path:
    return Path(settings.STILLROOM_STATE) / "preflights"
