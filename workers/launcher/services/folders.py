"""The folders of a clone: data in `var/`, or outside the clone where root needs it; sockets.

A unix socket's path may have about 100 characters, so sockets are in a short private folder and
never under a path of unknown length. No parent folder's mode is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workers.launcher import errors
from workers.launcher.errors import LauncherError
from workers.launcher.services import account as accounts
from workers.launcher.services import binaries
from workers.launcher.services.account import Account
from workers.launcher.services.binaries import Binaries

# Linux holds 107 bytes of a socket's path, macOS 103.
SOCKET_PATH_BYTES = 100
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"


@dataclass(frozen=True)
class Folders:
    """The folders and programs of one clone.

    `clone` is the checkout, `var` its private data, `services` the parent of Postgres' data folder,
    `sockets` the private folder of the sockets (mode 700).
    """

    clone: Path
    var: Path
    services: Path
    sockets: Path
    logs: Path
    account: Account
    programs: Binaries


def prepare(clone: Path) -> Folders:
    """Make the missing folders and return all. Raises LauncherError if one cannot be made."""
    account = accounts.services_account()
    var = clone / "var"
    try:
        (var / "log").mkdir(parents=True, exist_ok=True)
        _close(var, account)
        return Folders(
            clone=clone,
            var=var,
            services=_services_folder(clone, var, account),
            programs=reachable_programs(clone, account),
            sockets=private_sockets(clone, account),
            logs=var / "log",
            account=account,
        )
    except OSError as error:
        raise errors.from_os_error(error, f"making the folders of {clone}") from error


def reachable_programs(clone: Path, account: Account) -> Binaries:
    """Return the installed programs, or a copy of them if the account cannot run these."""
    programs = binaries.find_installed()
    if programs.usable_by(account):
        return programs
    return binaries.copy_to_folder(programs, _state_directory(clone))


def private_sockets(clone: Path, account: Account) -> Path:
    """Make and return the socket folder of this user and clone (mode 700, owned by `account`)."""
    label = f"stillroom-{os.geteuid()}-{_fingerprint(clone)}"
    candidates = [Path(tempfile.gettempdir()) / label, Path("/tmp") / label]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # Another account cannot enter root's runtime folder.
    if runtime and Path(runtime).is_dir() and not account.switch:
        candidates.insert(0, Path(runtime) / label)
    folder = next(
        (path for path in candidates if len(str(path) + LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES),
        candidates[-1],
    )
    make_private(folder, account)
    return folder


def make_private(folder: Path, account: Account) -> None:
    """Make a folder of mode 700 for the account. Raises LauncherError if it is somebody else's."""
    if not folder.exists() and not folder.is_symlink():
        folder.mkdir(mode=0o700)
        account.chown(folder)
    # lstat, not stat: in a shared temporary folder somebody else may have put a link there.
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
        raise LauncherError(
            f"{folder} is not a private folder of ours (owner {status.st_uid}, "
            f"mode {status.st_mode & 0o777:o}). Remove it and start again."
        )


def _close(var: Path, account: Account) -> None:
    """Take everything in `var` from other users, also what earlier versions left open to them."""
    # Where Postgres has an account of its own, it passes through to its own folder.
    var.chmod(0o711 if account.switch else 0o700)
    for entry in os.scandir(var):
        status = entry.stat(follow_symlinks=False)
        is_ours = status.st_uid == os.geteuid() and not entry.is_symlink()
        if is_ours and status.st_mode & 0o077:
            os.chmod(entry.path, stat.S_IMODE(status.st_mode) & 0o700)


def _services_folder(clone: Path, var: Path, account: Account) -> Path:
    """Return `var`, or a folder in the system's state directory if the account cannot enter it.

    `var/services-folder` records the other folder, so that a later start finds the same data.
    """
    note = var / "services-folder"
    if note.exists():
        return Path(note.read_text().strip())
    if (var / "postgres").exists() or account.can_enter(var):
        return var
    elsewhere = _state_directory(clone)
    note.write_text(f"{elsewhere}\n")
    return elsewhere


def _state_directory(clone: Path) -> Path:
    """Make and return this clone's folder in systemd's $STATE_DIRECTORY, else in /var/lib."""
    root = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/stillroom"))
    folder = root / f"{clone.name[:40]}-{_fingerprint(clone)}"
    for path in (root, folder):
        if not path.exists():
            path.mkdir(parents=True)
            # Whatever the umask is: the account must be able to enter.
            path.chmod(0o755)
    return folder


def _fingerprint(clone: Path) -> str:
    return hashlib.sha256(str(clone.resolve()).encode()).hexdigest()[:10]
