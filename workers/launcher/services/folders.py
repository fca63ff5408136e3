"""Where things live: data in the clone's `var/`, or out of the clone where root needs it; sockets
in a short private folder.

A unix socket's path may have about 100 characters, so sockets never lie under a path of unknown
length. No parent folder's mode is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workers.launcher import refusal
from workers.launcher.refusal import Refusal
from workers.launcher.services import account as accounts
from workers.launcher.services import binaries
from workers.launcher.services.account import Account
from workers.launcher.services.binaries import Binaries

SOCKET_PATH_BYTES = 100  # Linux holds 107, macOS 103
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"


@dataclass(frozen=True)
class Folders:
    """`clone`: the checkout; `var`: its private data; `services`: Postgres' data folder's parent;
    `sockets`: mode 700.
    """

    clone: Path
    var: Path
    services: Path
    sockets: Path
    logs: Path
    account: Account
    programs: Binaries


def prepare(clone: Path) -> Folders:
    """Make the folders that are missing and say where they are."""
    account = accounts.of_services()
    var = clone / "var"
    try:
        (var / "log").mkdir(parents=True, exist_ok=True)
        services, programs = _reachable(clone, var, account)
        return Folders(
            clone, var, services, private_sockets(clone, account), var / "log", account, programs
        )
    except OSError as error:
        raise refusal.of_os_error(error, f"making the folders of {clone}") from error


def reachable_programs(clone: Path, account: Account) -> Binaries:
    """The installed programs, or a copy in the system's state directory where the account cannot
    run them.
    """
    programs = binaries.installed()
    return (
        programs
        if programs.usable_by(account)
        else binaries.copied(programs, _state_directory(clone))
    )


def private_sockets(clone: Path, account: Account) -> Path:
    """The folder of this user and this clone for sockets, mode 700, owned by the account that runs
    the services.
    """
    label = f"stillroom-{os.geteuid()}-{_fingerprint(clone)}"
    candidates = [Path(tempfile.gettempdir()) / label, Path("/tmp") / label]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if (
        runtime and Path(runtime).is_dir() and not account.switch
    ):  # root's own is closed to the account
        candidates.insert(0, Path(runtime) / label)
    folder = next(
        (path for path in candidates if len(str(path) + LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES),
        candidates[-1],
    )
    make_private(folder, account)
    return folder


def make_private(folder: Path, account: Account) -> None:
    """Make a folder of mode 700 for the account. Raises Refusal if something of somebody else's is
    there.
    """
    if not folder.exists() and not folder.is_symlink():
        folder.mkdir(mode=0o700)
        account.give(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise Refusal(
            f"{folder} is not a private folder of ours (owner {found.st_uid}, mode {found.st_mode & 0o777:o}). Remove it and start again."
        )


def _reachable(clone: Path, var: Path, account: Account) -> tuple[Path, Binaries]:
    """Services' data under `var/`, unless the account cannot reach it; `var/services-folder`
    records where it is instead.
    """
    note = var / "services-folder"
    programs = reachable_programs(clone, account)
    if note.exists():
        return Path(note.read_text().strip()), programs
    if (var / "postgres").exists() or account.can_enter(var):
        return var, programs
    elsewhere = _state_directory(clone)
    note.write_text(f"{elsewhere}\n")
    return elsewhere, programs


def _state_directory(clone: Path) -> Path:
    """This clone's folder in the system's state directory (systemd's $STATE_DIRECTORY, else
    /var/lib).
    """
    root = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/stillroom"))
    folder = root / f"{clone.name[:40]}-{_fingerprint(clone)}"
    for path in (root, folder):
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o755)  # ours, and whatever the umask says, the account must get through
    return folder


def _fingerprint(clone: Path) -> str:
    return hashlib.sha256(str(clone.resolve()).encode()).hexdigest()[:10]
