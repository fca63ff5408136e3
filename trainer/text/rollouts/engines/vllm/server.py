"""The vLLM server as a process group of the run, with a log and a private socket.

It ends with the trainer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.engine.outcome import Failure, RunRefused
from trainer.spec.operation import VllmSampler
from trainer.text.rollouts.engines.vllm.client import MODEL, EventStream, ServerGone, call

HERE = Path(__file__).resolve().parent
# All that vLLM's environment sees of this project.
WORKER = HERE / "worker"
EXTENSION = "stillroom_worker.WeightLoader"
# Not in a run definition: its author could then choose which program runs on the worker.
PYTHON_VARIABLE = "STILLROOM_VLLM_PYTHON"
INSTALLED = HERE.parents[4] / ".venv-vllm" / "bin" / "python"
# Seconds between two health checks while the server starts.
POLL = 0.5
# Lines of the server's log that an error message quotes.
LAST_ERRORS = 4


def vllm_python() -> Path:
    """The Python of vLLM's environment. Raises RunRefused if there is none."""
    python = Path(os.environ.get(PYTHON_VARIABLE) or INSTALLED)
    if not python.is_file():
        reason = (
            f"compute.sampler.kind: vllm is not installed on this machine, there is no {python}."
        )
        raise RunRefused(
            reason, f"Type `make vllm`, name its Python in {PYTHON_VARIABLE}, or choose in_process."
        )
    return python


@dataclass(frozen=True)
class Launch:
    """How the server is started.

    `longest` limits prompt and answer together, in tokens; `eager` builds no CUDA graphs. `gpus`
    are its GPUs as CUDA_VISIBLE_DEVICES names them, none on a CPU, and `gpu_share` is the share of
    their memory that it asks for.
    """

    settings: VllmSampler
    dtype: str
    longest: int
    eager: bool
    extension: str = EXTENSION
    extension_folders: tuple[Path, ...] = (WORKER,)
    gpus: tuple[str, ...] = ()
    gpu_share: float | None = None

    def command(self, model: Path, socket: Path) -> list[str]:
        options: dict[str, object] = {
            "--model": model,
            "--served-model-name": MODEL,
            "--uds": socket,
            "--dtype": self.dtype,
            # One more, because a request for the log-probs of a text also has a new token.
            "--max-model-len": self.longest + 1,
            "--kv-cache-memory-bytes": int(self.settings.memory * 2**30),
            # Log-probs of the distribution that is sampled from: importance weights divide by them.
            "--logprobs-mode": "processed_logprobs",
            # Otherwise the model folder's own sampling defaults (penalties, top-p) would apply.
            "--generation-config": "vllm",
            "--worker-extension-cls": self.extension,
        }
        if self.gpus:
            options["--tensor-parallel-size"] = self.settings.tensor_parallel
        if self.gpu_share is not None:
            options["--gpu-memory-utilization"] = self.gpu_share
        flags = [
            # Prompts and answers are token ids; the folder has no tokenizer.
            "--skip-tokenizer-init",
            "--disable-uvicorn-access-log",
            *(["--enforce-eager"] if self.eager else []),
        ]
        values = [str(value) for option in options.items() for value in option]
        # Not `vllm serve`: it looks for a distribution named vllm, which the build for CPUs is not.
        return [str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", *values, *flags]

    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join(map(str, self.extension_folders))
        settings = {
            "PYTHONPATH": path,
            # Opens `/collective_rpc`, through which new weights are loaded.
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            **({"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}),
        }
        # The trainer's secrets (STILLROOM_SECRET_…) are none of the server's business.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("STILLROOM_")
        }
        # Some helpers of vLLM are compiled at their first use, even eagerly: that takes most of a
        # minute and needs a C++ compiler.
        return {**inherited, **settings, **({"TORCH_COMPILE_DISABLE": "1"} if self.eager else {})}


class Server:
    """A running server over the model folder `model`. Raises Failure if it is not ready in time."""

    def __init__(self, launch: Launch, model: Path, log: Path) -> None:
        self.settings, self.log = launch.settings, log
        # Not in the run's folder: the path of a unix socket is limited to 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="vllm-")
        self.socket = Path(self._folder.name) / "socket"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # The guard is the group's leader and ends the server when this process dies.
                [sys.executable, str(HERE / "guard.py"), *launch.command(model, self.socket)],
                env=launch.environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The guard kills its whole group, which must not be the trainer's.
                start_new_session=True,
            )
        self._wait()

    def call(self, route: str, body: dict[str, Any] | None = None) -> Any:
        """See `client.call`."""
        return call(self.socket, route, body, self.settings.seconds)

    def events(self, route: str, body: dict[str, Any]) -> EventStream:
        """See `client.EventStream`."""
        return EventStream(self.socket, route, body, self.settings.seconds)

    @property
    def group(self) -> int:
        """The process group of the server and all that it starts."""
        return self._process.pid

    def stop(self) -> None:
        """Stop the server and all its children, and wait until they have ended."""
        assert self._process.stdin is not None
        # The guard waits for this; see `guard.py`.
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def _wait(self) -> None:
        deadline = time.monotonic() + self.settings.seconds
        while True:
            try:
                self.call("/health")
                return
            except ServerGone:
                pass
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                why = "ended" if ended else f"was not ready after {self.settings.seconds:g} s"
                raise Failure(
                    f"The vLLM server {why}; the last words of {self.log.name} are: "
                    f"{last_errors(self.log)}"
                )
            time.sleep(POLL)


def last_errors(log: Path) -> str:
    """The last error lines of a server's log, or its last lines."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    # The last lines are mostly about the shutdown; the cause is an error before them.
    error_lines = [line for line in lines if "Error" in line and "shutdown" not in line] or lines
    return " | ".join(line.strip()[:300] for line in error_lines[-LAST_ERRORS:])
