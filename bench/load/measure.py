"""`python -m bench load`: pages for 200 viewers and 8 writers while members upload hostile files.

Event ingest, Postgres, Redis and web server are the real ones. The first row is without uploads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.services import CLONE, services, web_server

VIEWERS, UPLOADERS = 200, 3
SECONDS = 60
# Worst of so many seconds is read this often.
SAMPLE_EVERY = 0.2
MIB = 2**20


def measure() -> list[dict[str, Any]]:
    # All clients come from one address, which visitors of a site do not.
    os.environ["STILLROOM_CONNECTIONS"] = "1000"
    with services() as state:
        import django

        django.setup()
        viewers, uploaders, token = _people()
        with web_server(state / "web.log") as (address, web):
            plan = {"token": token, "cookies": viewers, "runs": _runs(address, token)}
            return [
                {"beside it": name, **_row(address, web, state, {**plan, **phase})}
                for name, phase in (
                    ("nothing", {"phase": "calm", "uploaders": []}),
                    ("three members upload", {"phase": "hostile", "uploaders": uploaders}),
                )
            ]


def _people() -> tuple[list[str], list[str], str]:
    """Session cookies of viewers and of editors of one team, and its token."""
    from django.conf import settings
    from django.test import Client

    from webapp.access import api_tokens, members
    from webapp.access.models import Membership, Role, Scope, User

    owner = members.create_account("owner@load.example", "a long enough phrase", "Owner")
    team = members.create_team("Load", owner)
    cookies = []
    for number in range(VIEWERS + UPLOADERS):
        person = User.objects.create_user(f"person{number}@load.example", name=f"Person {number}")
        role = Role.VIEWER if number < VIEWERS else Role.EDITOR
        Membership.objects.create(team=team, user=person, role=role)
        client = Client()
        client.force_login(person)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={cookie}")
    token = api_tokens.make(team, "load", Scope.LOG, owner)
    return cookies[:VIEWERS], cookies[VIEWERS:], token


def _runs(address: str, token: str) -> list[str]:
    """Runs with a first batch of points, which the viewers follow."""
    from bench.ingest.writers import KEYS, STEPS, Connection, trackio
    from webapp.runs.models import Run

    for number in range(8):
        trackio(Connection(address, token), f"watched-{number}", STEPS, KEYS).send(0)
    return list(Run.objects.values_list("public_id", flat=True))


def _row(
    address: str, web: subprocess.Popen[bytes], state: Path, plan: dict[str, Any]
) -> dict[str, Any]:
    with _Peaks(web.pid, state) as peaks:
        clients = subprocess.run(
            [sys.executable, "-m", "bench.load.clients", address, str(SECONDS)],
            cwd=CLONE,
            input=json.dumps(plan),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    report = json.loads(clients.stdout)
    for failure in report["failures"][:5]:
        print(f"failed: {failure}", file=sys.stderr)
    pages, writes = sorted(report["seconds"]["page"]), sorted(report["seconds"]["write"])
    return {
        "pages read": len(pages),
        "page p50 s": statistics.median(pages),
        "page p95 s": pages[int(0.95 * len(pages))],
        "page worst s": pages[-1],
        "write p95 s": writes[int(0.95 * len(writes))],
        "uploads": len(report["seconds"].get("upload", ())),
        "failed": len(report["failures"]),
        "points lost": sum(sent - _stored_points(name) for name, sent in report["written"].items()),
        "web and its children, MiB at most": round(peaks.memory / MIB),
        "spooled, MiB at most": round(peaks.disk / MIB),
    }


def _stored_points(name: str) -> int:
    from bench.ingest.writers import KEYS
    from webapp.runs.models import Run
    from webapp.series import series_store

    run = Run.objects.get(name=name)
    keys = [f"metric_{key}" for key in range(KEYS)]
    return sum(len(line.x) for line in series_store.read([run], keys, width=10**6))


class _Peaks:
    """The most memory of a process with its children, and bytes of uploads, while it is entered."""

    def __init__(self, pid: int, state: Path) -> None:
        self.memory = self.disk = 0
        self._process, self._state, self._ended = psutil.Process(pid), state, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Peaks:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.memory = max(self.memory, self._memory())
            self.disk = max(self.disk, self._uploads())
            time.sleep(SAMPLE_EVERY)

    def _memory(self) -> int:
        total = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def _uploads(self) -> int:
        total = 0
        for path in self._state.rglob(".uploads/**/*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        return total
