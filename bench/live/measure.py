"""`python -m bench live`: delay from emit to page with 200 signed-in viewers of a run.

Event log, supervisor, ingest, Postgres, Redis and web server are the real ones.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

import psutil

from bench.services import CLONE, services, web_server

PAGES = 200
SECONDS = 20.0
PER_SECOND = (1.0, 5.0)
SPEC = {
    "name": "emitting",
    "recipe": "paced",
    "networks": {"student": {"model": "builtin:student"}, "teacher": {"model": "builtin:teacher"}},
    "stages": [
        {"name": "forward", "until": {"steps": 60}},
        {"name": "on-policy", "until": {"steps": 40}},
    ],
}


def measure() -> list[dict[str, Any]]:
    with services() as state:
        import django

        django.setup()
        cookies = _people()
        with web_server(state / "web.log") as (address, web):
            return [
                _row(address, web, cookies, rate, number)
                for number, rate in enumerate(PER_SECOND, 1)
            ]


def _people() -> list[str]:
    """Members of one team, each with a session."""
    from django.conf import settings
    from django.test import Client

    from webapp.access.models import Membership, Role, Team, User

    team, cookies = Team.objects.create(name="Still", slug="still"), []
    for number in range(PAGES):
        person = User.objects.create_user(f"person{number}@still.example", name=f"Person {number}")
        Membership.objects.create(team=team, user=person, role=Role.VIEWER)
        client = Client()
        client.force_login(person)
        cookies.append(
            f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
        )
    return cookies


def _row(
    address: str, web: subprocess.Popen[bytes], cookies: list[str], per_second: float, number: int
) -> dict[str, Any]:
    from webapp.access.models import Team
    from webapp.runs import leases, lifecycle
    from workers.attempt.supervisor_start import start_supervisor
    from workers.attempt.trainer_process import TrainerProcess
    from workers.machine import host

    run = lifecycle.create_run(Team.objects.get(), None, SPEC)
    claimed = leases.claim(run.pk, host.name())
    assert claimed is not None
    steps = round(SECONDS * per_second)
    command = [sys.executable, "-m", "bench.live.pages", address, run.public_id, str(steps)]
    pages = subprocess.Popen(
        command, cwd=CLONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert pages.stdin is not None and pages.stdout is not None
    pages.stdin.write("\n".join(cookies))
    pages.stdin.close()
    # Only now: a page that subscribes late gets the first points as history.
    assert pages.stdout.readline() == "ready\n"
    folder = host.attempt_folder(run.public_id, claimed.number)
    before = _cpu_seconds(web)
    folder.mkdir(parents=True, exist_ok=True)
    emitter = [
        sys.executable,
        "-m",
        "bench.live.emitter",
        str(folder),
        str(SECONDS),
        str(per_second),
    ]
    recorder = subprocess.Popen(
        [sys.executable, "-m", "workers.attempt.exit_recorder", str(folder), *emitter], cwd=CLONE
    )
    while not TrainerProcess(folder).started():
        assert recorder.poll() is None
    start_supervisor(run.public_id, claimed.number)
    report = json.loads(pages.stdout.read())
    recorder.wait()
    delays = sorted(report["delays"])
    cuts = statistics.quantiles(delays, n=100)
    return {
        "emits per second": per_second,
        "pages": len(cookies),
        "p50 s": cuts[49],
        "p95 s": cuts[94],
        "p99 s": cuts[98],
        "worst s": delays[-1],
        "frames per page and second": report["frames"] / len(cookies) / SECONDS,
        "bytes per frame": round(report["bytes"] / report["frames"]),
        "pages with every point once": report["whole"],
        "web, share of a core": (_cpu_seconds(web) - before) / SECONDS,
    }


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
