"""What a run ran on, for its record: Python, platform, device, source version and packages."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).resolve().parents[2]
# A run starts without the commit if git hangs, as on a network disk that does not answer.
GIT_SECONDS = 5


def facts(device: torch.device) -> dict[str, Any]:
    """Return the fields of an `environment` event.

    `commit` is None if the program does not run from a git clone.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "commit": _commit(),
        "packages": _packages(),
    }


def _packages() -> dict[str, str]:
    """Return the version of each installed package by name.

    Only the lines Name and Version are read: parsing every description takes ten times as long.
    """
    versions = {}
    for package in metadata.distributions():
        text = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
        lines = text.partition("\n\n")[0].splitlines()
        fields = dict(
            line.split(": ", 1) for line in lines if line.startswith(("Name: ", "Version: "))
        )
        if fields.keys() == {"Name", "Version"}:
            versions[fields["Name"]] = fields["Version"]
    return dict(sorted(versions.items()))


def _commit() -> str | None:
    # Without this check, git would report the commit of a repository around an installed copy.
    if not (SOURCE / ".git").exists():
        return None
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=SOURCE,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() or None
