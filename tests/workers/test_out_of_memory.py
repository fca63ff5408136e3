"""An out-of-memory kill is told from any other SIGKILL by the counts of the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.attempt import out_of_memory

MOUNTINFO = {
    1: "31 23 0:28 / {0} rw - tmpfs tmpfs rw\n"
    "35 31 0:32 {1} {0}/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 / {0}/cpu rw shared:2 - cgroup cgroup rw,cpu\n",
    2: "31 23 0:28 {1} {0} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
}
HUNGRY = "kept = [bytearray(b'x' * 2**20) for _ in range(4096)]"
KILLED_BY_ITSELF = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
LIMIT_BYTES = 64 * 2**20


class Kernel:
    """The files of a kernel: process 7 is in a control group, perhaps seen from a container."""

    def __init__(self, folder: Path, version: int, group: str, visible_from: str) -> None:
        self.proc, mounted = folder / "proc", folder / "cgroup"
        (self.proc / "7").mkdir(parents=True)
        (self.proc / "self").mkdir()
        (self.proc / "self" / "mountinfo").write_text(
            MOUNTINFO[version].format(mounted, visible_from)
        )
        (self.proc / "7" / "cgroup").write_text(
            f"4:memory:{group}\n1:cpu:/\n0::/\n" if version == 1 else f"0::{group}\n"
        )
        below = group.removeprefix(visible_from).lstrip("/")
        self.group = (mounted / "memory" if version == 1 else mounted) / below
        self.group.mkdir(parents=True)
        self.file = self.group / ("memory.oom_control" if version == 1 else "memory.events")
        self.count(own=3, host=5)

    def count(self, own: int | None, host: int) -> None:
        (self.proc / "vmstat").write_text(f"pgfault 12\noom_kill {host}\n")
        self.file.unlink(missing_ok=True)
        if own is not None:
            self.file.write_text(f"oom 9\noom_kill {own}\noom_group_kill 0\n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("visible_from", ["/", "/pods/a", "/pods/a/trainer"])
def test_the_count_of_the_own_group_decides(
    tmp_path: Path, version: int, visible_from: str
) -> None:
    kernel = Kernel(tmp_path, version, "/pods/a/trainer", visible_from)
    before = out_of_memory.read(7, kernel.proc)
    assert (before.own, before.host) == (3, 5)

    kernel.count(own=3, host=6)
    assert out_of_memory.was_killed(before, kernel.proc) is False, "another program was killed"
    kernel.count(own=4, host=6)
    assert out_of_memory.was_killed(before, kernel.proc) is True


def test_kills_in_groups_below_do_not_count(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, 2, "/trainer", "/")
    (kernel.group / "memory.events.local").write_text("oom_kill 0\n")
    before = out_of_memory.read(7, kernel.proc)
    kernel.count(own=4, host=6)

    assert out_of_memory.was_killed(before, kernel.proc) is False


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_count_of_the_group_a_kill_on_the_host_is_only_a_possibility(
    tmp_path: Path, version: int
) -> None:
    kernel = Kernel(tmp_path, version, "/", "/")
    kernel.count(own=None, host=5)
    before = out_of_memory.read(7, kernel.proc)

    assert out_of_memory.was_killed(before, kernel.proc) is False
    kernel.count(own=None, host=6)
    assert out_of_memory.was_killed(before, kernel.proc) is None


def test_a_group_that_went_with_its_process_leaves_a_possibility(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, 2, "/trainer", "/")
    before = out_of_memory.read(7, kernel.proc)
    kernel.count(own=None, host=6)

    assert out_of_memory.was_killed(before, kernel.proc) is None


def test_a_system_without_these_files_is_unknown(tmp_path: Path) -> None:
    before = out_of_memory.read(7, tmp_path)

    assert before == out_of_memory.KillCounts(None, None, None)
    assert out_of_memory.was_killed(before, tmp_path) is None


def make_small_group(folder: Path) -> None:
    """Make a control group of this kernel with little memory. Raises OSError if we may not."""
    folder.mkdir()
    version_1 = folder / "memory.limit_in_bytes"
    limit = version_1 if version_1.exists() else folder / "memory.max"
    try:
        limit.write_text(str(LIMIT_BYTES))
    except OSError:
        folder.rmdir()
        raise


def small_group_folder() -> Path:
    own = out_of_memory.read(os.getpid()).file
    return (own.parent if own else Path("/sys/fs/cgroup")) / f"stillroom-test-{os.getpid()}"


def may_limit_memory() -> bool:
    try:
        make_small_group(small_group_folder())
    except OSError:
        return False
    small_group_folder().rmdir()
    return True


@pytest.fixture
def small_group() -> Iterator[Path]:
    folder = small_group_folder()
    make_small_group(folder)
    yield folder
    folder.rmdir()


@pytest.mark.skipif(not may_limit_memory(), reason="a control group needs the right to make one")
@pytest.mark.parametrize(("code", "out_of_memory"), [(HUNGRY, True), (KILLED_BY_ITSELF, False)])
def test_a_real_kill_is_reported_with_its_cause(
    tmp_path: Path, small_group: Path, code: str, out_of_memory: bool
) -> None:
    """The recorder joins the group first, as the parent of a trainer in a container is in its."""
    command = [
        *("/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(small_group)),
        *(sys.executable, "-m", "workers.attempt.exit_recorder", str(tmp_path)),
        *(sys.executable, "-c", code),
    ]
    subprocess.run(command, check=True)
    exit = json.loads((tmp_path / "exit.json").read_text())

    assert (exit["signal"], exit["out_of_memory"]) == (9, out_of_memory)
