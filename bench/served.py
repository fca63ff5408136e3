"""A teacher on a vLLM server on this machine beside the same teacher in the trainer.

Each run trains the built-in student on the same problems and nothing but the teacher's place
differs: in the trainer, or on the server, which gives hidden states, the likeliest tokens or the
log-prob of each written token. Bytes are counted in both directions, HTTP bodies only. The server
shares the processors with the trainer, so that only shares and bytes say something about a
teacher elsewhere. `make vllm` installs the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.events import read
from trainer.text import run
from trainer.text.language.model_folders import local_folder
from trainer.text.rollouts.engines.vllm import guard
from trainer.text.rollouts.engines.vllm.server import vllm_python
from trainer.text.teachers.served import served_view

WORKER = Path(served_view.__file__).parent / "worker"
STEPS, LEFT_OUT, K = 20, 4, 16
TEACHER = "builtin:teacher"
REVERSE_KL: dict[str, Any] = {"kind": "reverse_kl"}
OVER_TOP = {**REVERSE_KL, "vocabulary": {"kind": "top", "k": K, "rest": "tail"}}
# Name → objective, and what a served teacher gives; None: the teacher is in the trainer.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "reverse KL, in the trainer": (REVERSE_KL, None),
    "reverse KL, hidden states": (REVERSE_KL, {"kind": "hidden_states", "head": TEACHER}),
    f"reverse KL, top {K} with tail": (OVER_TOP, {"kind": "top_k", "k": K}),
    "policy gradient, in the trainer": ({"kind": "policy_gradient"}, None),
    "policy gradient, written tokens": ({"kind": "policy_gradient"}, {"kind": "sampled"}),
}


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(local_folder(TEACHER), folder / "vllm.log", {"--max-logprobs": K}) as url:
            return [_row(contender, url, folder) for contender in RUNS]


@contextlib.contextmanager
def server(model: Path, log: Path, more: Mapping[str, Any]) -> Iterator[str]:
    """The address of a vLLM server for a model's folder, as an operator starts it.

    It gives hidden states too. `more` are further options; `log` gets its output.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "--model": model,
        "--served-model-name": "large",
        "--host": "127.0.0.1",
        "--port": port,
        "--dtype": "float32",
        "--kv-cache-memory-bytes": 2**28,
        "--worker-extension-cls": "stillroom_hidden_states.HiddenStates",
        **more,
    }
    settings = {
        "PYTHONPATH": str(WORKER),
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TORCH_COMPILE_DISABLE": "1",
    }
    command = [str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    command += [str(value) for option in options.items() for value in option]
    with log.open("wb") as output:
        # The guard ends the server and all that it starts once its input is closed.
        process = subprocess.Popen(
            [sys.executable, guard.__file__, *command],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(url):
            if process.poll() is not None:
                raise SystemExit(log.read_text(errors="replace")[-2000:])
            time.sleep(0.5)
        yield url
    finally:
        process.stdin.close()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _row(contender: str, url: str, folder: Path) -> dict[str, Any]:
    steps = _steps(*RUNS[contender], url, folder / contender.replace(" ", "-"))
    return {
        "teacher": contender,
        "bytes per scored token": _mean(steps, "teacher/main/bytes_per_token"),
        "teacher's share of the step": _mean(steps, "time_share/teacher"),
        "seconds a step": _mean(steps, "time/step_s"),
        "loss at the end": steps[-1]["loss"],
    }


def _steps(
    objective: dict[str, Any], gives: dict[str, Any] | None, url: str, folder: Path
) -> list[dict[str, float]]:
    """Return the metrics of each counted step of a run."""
    teacher: dict[str, Any] = {"kind": "model", "model": TEACHER}
    if gives is not None:
        teacher = {
            "kind": "served",
            "urls": [url],
            "model": "large",
            "tokenizer": TEACHER,
            "gives": gives,
        }
    definition = folder.with_suffix(".json")
    definition.write_text(
        json.dumps(
            {
                "name": "served teacher",
                "networks": {"student": {"model": "builtin:student"}, "teacher": teacher},
                "data": {"train": {"kind": "arithmetic", "levels": [1, 2], "count": 400}},
                "pool": {"estimate": "never", "weighting": {"kind": "uniform"}},
                "stages": [
                    {
                        "name": "train",
                        "rollouts": {"generate": {"sampling": {"max_new_tokens": 80}}},
                        "objective": objective,
                        "problems_per_step": 48,
                        "until": {"steps": STEPS},
                    }
                ],
                "evaluation": {"every": 0},
            }
        )
    )
    # The table alone belongs into the output.
    with contextlib.redirect_stdout(sys.stderr):
        if run.start(definition, folder):
            raise SystemExit(f"The run with {folder.name} failed; see above.")
    events = read(folder / "attempts" / "1" / "events")
    by_step: dict[int, dict[str, float]] = {}
    for event in events:
        if event["type"] == "metrics":
            by_step.setdefault(event["step"], {}).update(event["values"])
    return [values for values in by_step.values() if "time/step_s" in values][LEFT_OUT:]


def _mean(steps: list[dict[str, float]], key: str) -> float | str:
    values = [step[key] for step in steps if key in step]
    return statistics.fmean(values) if values else "–"
