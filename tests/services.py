"""Pytest plugin (`-p tests.services`): Postgres and Redis of this session.

DATABASE_URL and REDIS_URL may name others. The addresses are set before Django reads its settings;
the servers start when a test first needs them, in a private folder with a short path, and stop with
the session. The next session stops the servers of a killed one. Sessions share nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from workers.launcher import process_record
from workers.launcher.services import account as accounts
from workers.launcher.services import folders, postgres, redis_server
from workers.launcher.services.postgres import Postgres
from workers.launcher.services.redis_server import Redis

CLONE = Path(__file__).resolve().parent.parent
PREFIX = f"stillroom-test-{os.geteuid()}-"
RECORD = "children.json"
FAST = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "shared_buffers=32MB",
    "jit=off",
)


def _base() -> Path:
    """Return the temporary directory, or /tmp if its path is too long for a socket."""
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) < 50 else Path("/tmp")


FOLDER = _base() / f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
# The addresses that a parent process of this session has set: each process of pytest-xdist starts
# its own services, instead of using those of its parent.
SET_HERE = "STILLROOM_TEST_SERVICES"
OWN_POSTGRES = "DATABASE_URL" not in os.environ or "postgres" in os.environ.get(SET_HERE, "")
OWN_REDIS = "REDIS_URL" not in os.environ or "redis" in os.environ.get(SET_HERE, "")


def _postgres() -> Postgres:
    account = accounts.services_account()
    programs = folders.reachable_programs(CLONE, account)
    return Postgres(programs, FOLDER / "postgres", FOLDER, FOLDER / "postgres.log", account, FAST)


def _redis() -> Redis:
    account = accounts.services_account()
    return Redis(folders.reachable_programs(CLONE, account), FOLDER, FOLDER / "redis.log", account)


def pytest_unconfigure() -> None:
    stop()


def stop() -> None:
    """Stop what `start` has started, and remove its folder."""
    process_record.stop(FOLDER / RECORD)
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def services() -> None:
    """Start Postgres and Redis. The `db` fixtures use this one."""
    start()


def start() -> None:
    """Start Postgres and Redis unless the environment names others."""
    children: dict[str, int] = {}
    if OWN_POSTGRES:
        server = _postgres()
        postgres.prepare(server, ["--no-sync"])
        postgres.wait_until_ready(
            server, _start("Postgres", server.command(), server.log, children)
        )
    if OWN_REDIS:
        redis = _redis()
        redis_server.wait_until_ready(redis, _start("Redis", redis.command(), redis.log, children))


def _start(
    label: str, command: list[str], log: Path, children: dict[str, int]
) -> subprocess.Popen[bytes]:
    account = accounts.services_account()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            cwd="/",
            env=accounts.service_environment(),
            start_new_session=True,
            **account.popen(),
        )
    children[label] = process.pid
    process_record.record(FOLDER / RECORD, children)
    return process


def _stop_stale_services() -> None:
    """Stop the servers of sessions that were killed, and remove their folders."""
    for folder in _base().glob(f"{PREFIX}*"):
        if (folder / RECORD).exists() and not process_record.owner_lives(folder / RECORD):
            process_record.stop(folder / RECORD)
            shutil.rmtree(folder, ignore_errors=True)


# Django reads these once, while pytest-django loads: before the first fixture.
_stop_stale_services()
folders.make_private(FOLDER, accounts.services_account())
process_record.record(FOLDER / RECORD, {})
os.environ[SET_HERE] = " ".join(
    name for name, started in (("postgres", OWN_POSTGRES), ("redis", OWN_REDIS)) if started
)
if OWN_POSTGRES:
    os.environ["DATABASE_URL"] = _postgres().url
if OWN_REDIS:
    os.environ["REDIS_URL"] = _redis().url
os.environ["STILLROOM_ENV_FILE"] = str(FOLDER / "env")  # not the developer's own settings
os.environ["STILLROOM_STATE"] = str(FOLDER / "state")
os.environ["SECRET_KEY"] = secrets.token_urlsafe(32)
