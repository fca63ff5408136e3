"""What uploads of a killed web process left behind is removed at the next start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.clients.server import ROOT
from webapp.base import leftovers

# Prints what is left in the folder, then holds the lock until its input ends.
PROCESS = """
import os, sys
from pathlib import Path
from webapp.base import leftovers
lock = leftovers.remove(Path(sys.argv[1]))
print(len(os.listdir(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def fill(folder: Path) -> None:
    (folder / "tmp1.upload").write_bytes(b"half a model")
    (folder / "import").mkdir(exist_ok=True)
    (folder / "import" / "runs.csv").write_text("step,loss\n")


def test_leftovers_are_removed_once_nobody_uses_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    fill(folder)
    first, count = start(folder)
    assert count == 0

    fill(folder)
    second, count = start(folder)
    assert count == 2

    first.kill()
    second.kill()
    for process in (first, second):
        process.communicate()
    leftovers.remove(folder)
    assert list(folder.iterdir()) == []


def test_a_link_among_the_leftovers_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "uploads", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (folder / "link").symlink_to(elsewhere)
    leftovers.remove(folder)
    assert list(folder.iterdir()) == [] and (elsewhere / "kept").exists()
