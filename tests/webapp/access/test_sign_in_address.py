"""The address of a sign-in link is that of the web that runs, whatever this process was told."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from webapp.access import addresses
from webapp.access.models import User

pytestmark = pytest.mark.django_db


def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("lock", "address"),
    [
        ({"pid": os.getpid(), "address": "http://127.0.0.1:8001/"}, "http://127.0.0.1:8001"),
        ({"pid": os.getpid(), "address": "http://::1:8001/"}, "http://[::1]:8001"),
        # A process of another user.
        ({"pid": 1, "address": "http://127.0.0.1:8001/"}, "http://127.0.0.1:8001"),
        ({"pid": ended_pid(), "address": "http://127.0.0.1:8001/"}, "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
        ("[]", "http://127.0.0.1:8000"),
        (None, "http://127.0.0.1:8000"),
    ],
)
def test_a_sign_in_link_has_the_port_that_runs(
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    alice: User,
    tmp_path: Path,
    lock: object,
    address: str,
) -> None:
    monkeypatch.setattr(addresses, "ENV_FILE", tmp_path / "env")
    environment = settings.ENVIRONMENT
    settings.ENVIRONMENT = replace(environment, host="127.0.0.1", port=8000, https=False)
    if lock is not None:
        content = lock if isinstance(lock, str) else json.dumps(lock)
        (tmp_path / "launcher.lock").write_text(content)
    output = StringIO()
    call_command("sign_in_link", "alice@still.example", stdout=output)
    assert output.getvalue().split("/sign-in/")[0] == address
