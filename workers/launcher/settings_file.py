"""`var/env`: the settings that this clone generates for itself, readable by its owner only.

The lines above MARK belong to the operator and to the first start (the secret key). The lines below
are rewritten at every start, because the addresses of our own services depend on where the socket
folder is today.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

# Files written by earlier versions contain this line: changing it would turn old service addresses
# into operator settings.
MARK = (
    "# Services started by the launcher "
    "(written at every start; to use others, set DATABASE_URL or REDIS_URL above):"
)


def operator_lines(file: Path) -> str:
    """Return the operator's part of the file; on the first start a new secret key."""
    if file.exists():
        return file.read_text(encoding="utf-8").split(MARK)[0].rstrip("\n")
    return f"SECRET_KEY={secrets.token_urlsafe(50)}"


def write(file: Path, operator: str, services: Mapping[str, str]) -> None:
    """Replace the file atomically with the operator's lines and the addresses of our services."""
    lines = [operator, MARK, *(f"{name}={value}" for name, value in services.items())]
    temporary = file.with_name("env.new")
    temporary.unlink(missing_ok=True)
    # The mode is set when the file is created, so that the secret key is never readable by others.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    temporary.replace(file)
