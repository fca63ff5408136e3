"""Whether the kernel killed a process because memory ran out, or somebody else sent the SIGKILL.

The kernel counts such kills per control group, in the group of the killed process, and for the
whole host. Only a count of the process's own group tells: on the host, any program may have been
killed. Version 2 of control groups has `oom_kill` in `memory.events.local` (and, with all groups
below, in `memory.events`), version 1 in `memory.oom_control`.
See https://docs.kernel.org/admin-guide/cgroup-v2.html. Standard library only, because the exit
recorder uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
COUNTERS = ("memory.events.local", "memory.events", "memory.oom_control")


@dataclass(frozen=True)
class KillCounts:
    """Kills for memory up to now; None where the count cannot be read.

    `own` is the count in `file`, of the process's own control group.
    """

    file: Path | None
    own: int | None
    host: int | None


def read(pid: int, proc: Path = PROC) -> KillCounts:
    """Return the counts for a running process."""
    host = _count(proc / "vmstat")
    for folder in _memory_groups(pid, proc):
        for name in COUNTERS:
            if (own := _count(folder / name)) is not None:
                return KillCounts(folder / name, own, host)
    return KillCounts(None, None, host)


def was_killed(before: KillCounts, proc: Path = PROC) -> bool | None:
    """Return whether memory was the reason of a SIGKILL after `before`; None if that is unknown.

    Unknown means that the group cannot be read, as the topmost one of version 2, and that the
    kernel did kill something on this host.
    """
    own = _count(before.file) if before.file else None
    if before.own is not None and own is not None:
        return own > before.own
    host = _count(proc / "vmstat")
    return False if host is not None and host == before.host else None


def _memory_groups(pid: int, proc: Path) -> Iterator[Path]:
    """Yield the folders of the process's control groups, where memory may be counted.

    `cgroup` names groups from the root of their hierarchy; `mountinfo` says which group is visible
    where, because a container sees its own group at the place of the root.
    """
    mounts = list(_mounts(proc))
    for line in _lines(proc / str(pid) / "cgroup"):
        number, controllers, path = line.split(":", 2)
        kind = "cgroup2" if number == "0" and not controllers else "cgroup"
        if kind == "cgroup" and "memory" not in controllers.split(","):
            continue
        for mounted_kind, options, root, folder in mounts:
            if mounted_kind != kind or (kind == "cgroup" and "memory" not in options):
                continue
            if root == "/" or path == root or path.startswith(f"{root}/"):
                yield folder / path.removeprefix(root).lstrip("/")


def _mounts(proc: Path) -> Iterator[tuple[str, list[str], str, Path]]:
    """Yield file system, options, root and folder of each mount of our own process."""
    for line in _lines(proc / "self" / "mountinfo"):
        # "36 35 98:0 /root /folder rw,noatime master:1 - type source options", where the number of
        # fields before the dash varies.
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        yield kind[0], kind[-1].split(","), fields[3], Path(fields[4])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _count(path: Path) -> int | None:
    """Return the number after `oom_kill`; None without such a line."""
    pairs = (line.split() for line in _lines(path))
    return next((int(pair[1]) for pair in pairs if pair[:1] == ["oom_kill"]), None)
