"""A team with tokens, a real server, and the stock clients as programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.server import serving
from tests.webapp.conftest import member
from webapp.access import api_tokens
from webapp.access.models import Role, Scope, Team, User
from webapp.runs.models import Run

# Low, so that tests can reach the limits of files with little.
LONGEST_FILE = 2**20
SCRIPTS = Path(__file__).parent / "scripts"
Script = Callable[..., str]


@pytest.fixture(scope="session")
def site(
    child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    environment = {
        **child_environment,
        "STILLROOM_TRUSTED_PROXIES": "127.0.0.1",
        "STILLROOM_FILE_BYTES": str(LONGEST_FILE),
        "STILLROOM_RUN_FILES_BYTES": str(4 * LONGEST_FILE),
    }
    with serving(environment, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture
def still(db: None) -> Team:
    return Team.objects.create(name="Still", slug="still")


@pytest.fixture
def erin(still: Team) -> User:
    return member("erin@still.example", "Erin", still, Role.EDITOR)


@pytest.fixture
def token(still: Team, erin: User) -> str:
    """A token that may log into the team Still."""
    return api_tokens.make(still, "cluster", Scope.LOG, erin)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs a client's script to its end and returns what it printed: script(name, address, token,
    **environment).
    """

    def run(name: str, address: str, token: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / name), *arguments],
            cwd=tmp_path,
            env=client_environment(address, token, tmp_path) | environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def client_environment(address: str, token: str, home: Path) -> dict[str, str]:
    """What a person exports before a script, and a home that no other test has touched."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TRACKIO_DIR": str(home / "trackio"),
        "TRACKIO_SERVER_URL": f"{address}/?write_token={token}",
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_TOKEN": token,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def only_run() -> Run:
    return Run.objects.select_related("origin__project").get()
