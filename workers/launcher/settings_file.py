"""`var/env`: the settings that this clone made for itself, closed to everybody else (mode 600).

What stands above the mark belongs to the operator and to the first start (the secret key); what
stands below is written anew at every start, because the addresses of our own services depend on
where sockets may live today.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

MARK = "# Services started by the launcher (written at every start; to use others, set DATABASE_URL or REDIS_URL above):"


def kept(file: Path) -> str:
    """The operator's part of the file; on the first start a new secret key."""
    if file.exists():
        return file.read_text(encoding="utf-8").split(MARK)[0].rstrip("\n")
    return f"SECRET_KEY={secrets.token_urlsafe(50)}"


def write(file: Path, own: str, services: Mapping[str, str]) -> None:
    """Replace the file whole, so that no reader ever sees half of it."""
    lines = [own, MARK, *(f"{name}={value}" for name, value in services.items())]
    temporary = file.with_name("env.new")
    temporary.unlink(missing_ok=True)
    with open(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as stream:
        stream.write("\n".join(lines) + "\n")
    temporary.replace(file)
