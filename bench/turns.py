"""Contenders that need a process of their own each: run in turn, several times, the order turned
round every time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
TRACKERS = ROOT / ".venv-trackers" / "bin" / "python"

Command = Sequence[str]


def ours(module: str, *arguments: str) -> Command:
    return (sys.executable, "-m", module, *arguments)


def peer(module: str, *arguments: str) -> Command:
    """A command in the peers' environment."""
    if not PEERS.exists():
        raise SystemExit("TRL is not installed for comparison. Run `make bench-peers` first.")
    return (str(PEERS), "-m", module, *arguments)


def tracker(module: str, *arguments: str) -> Command:
    """A command in the environment of MLflow, Trackio and W&B."""
    if not TRACKERS.exists():
        raise SystemExit(
            "The trackers are not installed for comparison. Run `make bench-trackers` first."
        )
    return (str(TRACKERS), "-m", module, *arguments)


Contenders = Mapping[str, Command]


def take(
    given: Contenders | Callable[[], Contenders], turns: int, threads: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """What each contender printed in each turn, as JSON. A function gives each turn its commands.
    No network is used.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for turn in range(turns):
        contenders = given() if callable(given) else given
        for name in sorted(contenders, reverse=bool(turn % 2)):
            finished = subprocess.run(
                contenders[name], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if finished.returncode:
                raise SystemExit(f"{' '.join(contenders[name])} failed:\n{finished.stderr[-2000:]}")
            found.setdefault(name, []).append(json.loads(finished.stdout.splitlines()[-1]))
    return found
