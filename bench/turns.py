"""Contenders in separate processes: run in turn, several times, in alternating order."""

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
    contender_source: Contenders | Callable[[], Contenders], turns: int, threads: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """The JSON that each contender printed, per turn; no network is used.

    A function as source is called once per turn for the commands of that turn.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    outputs: dict[str, list[dict[str, Any]]] = {}
    for turn in range(turns):
        contenders = contender_source() if callable(contender_source) else contender_source
        # Caches and the clock rate favour nobody if the order alternates.
        for name in sorted(contenders, reverse=bool(turn % 2)):
            finished = subprocess.run(
                contenders[name], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if finished.returncode:
                raise SystemExit(f"{' '.join(contenders[name])} failed:\n{finished.stderr[-2000:]}")
            # The last line, because libraries print before it.
            outputs.setdefault(name, []).append(json.loads(finished.stdout.splitlines()[-1]))
    return outputs
