"""A trainer without networks that starts at once, with real event log, checkpoints and signals.

    python -m tests.faults.steady run SPEC --dir RUN --attempt N
    python -m tests.faults.steady resume RUN --attempt N [--from CHECKPOINT]

Workers start it where `STILLROOM_TRAINER` says so. The loss depends on the seed and on all
steps before, so that a step that was skipped, repeated or resumed from the wrong state shows.
`STEADY_SECONDS` is the duration of a step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from trainer.events import EventLog

STEP_SECONDS = float(os.environ.get("STEADY_SECONDS", "0.05"))
CHECKPOINT_EVERY, KEPT = 10, 3
COMPLETED, DISK_FULL, STOPPED = 0, 74, 75


def next_loss(loss: float) -> float:
    """Return the next value of the logistic map, in its chaotic range.

    Two runs that differ in one bit soon differ in all.
    """
    return 3.9 * loss * (1 - loss)


def losses(seed: int, steps: int) -> list[float]:
    """Return the losses of an undisturbed run, step 1 first."""
    values = [next_loss(_first(seed))]
    while len(values) < steps:
        values.append(next_loss(values[-1]))
    return values


def _first(seed: int) -> float:
    return 0.3 + seed % 97 / 300


def main() -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name, arguments in (("run", ["spec", "--dir"]), ("resume", ["dir", "--from"])):
        command = commands.add_parser(name)
        for argument in arguments:
            command.add_argument(argument, type=Path)
        command.add_argument("--attempt", type=int, required=True)
    options = vars(parser.parse_args())
    trainer = Trainer(options["dir"], options["attempt"])
    if options["command"] == "resume":
        trainer.resume(options["from"])
    return trainer.train()


class Trainer:
    def __init__(self, folder: Path, attempt: int) -> None:
        self.run, self.folder = folder, folder / "attempts" / str(attempt)
        self.log = EventLog(self.folder / "events", attempt)
        spec = json.loads((folder / "spec.json").read_text())
        self.steps = sum(stage["until"]["steps"] for stage in spec["stages"])
        self.step, self.loss, self.stop, self.unsaved = 0, _first(spec["seed"]), False, ""
        signal.signal(signal.SIGTERM, self._request_stop)

    @property
    def failure(self) -> str:
        return self.log.failure or self.unsaved

    def resume(self, checkpoint: Path | None) -> None:
        newest = checkpoint or _newest(self.run)
        self.log.emit(
            "rewind", step=-1 if newest is None else int(newest.name.removeprefix("step-"))
        )
        if newest is not None:
            state = json.loads((newest / "state.json").read_text())
            self.step, self.loss = state["step"], state["loss"]

    def train(self) -> int:
        while self.step < self.steps and not self.stop and not self.failure:
            time.sleep(STEP_SECONDS)
            self.step, self.loss = self.step + 1, next_loss(self.loss)
            self.log.emit(
                "progress",
                step=self.step,
                total_steps=self.steps,
                stage="steady",
                phase="training",
                done=self.step,
                of=self.steps,
            )
            values = {"loss": self.loss, "half": self.loss / 2}
            self.log.emit(
                "metrics",
                step=self.step,
                stage="steady",
                tokens=7 * self.step,
                compute=1.5 * self.step,
                values=values,
            )
            if self.step % CHECKPOINT_EVERY == 0:
                self._save()
        return self._end()

    def _end(self) -> int:
        if self.failure:
            outcome, reason, code = (
                "failed",
                f"The run stopped after step {self.step}: {self.failure}.",
                DISK_FULL,
            )
        elif self.step < self.steps:
            self._save()
            outcome, reason, code = "stopped", "The run was asked to stop.", STOPPED
        else:
            outcome, reason, code = "completed", f"All {self.steps} steps are done.", COMPLETED
        self.log.emit("end", outcome=outcome, reason=reason, remedy="", code=code)
        self.log.close()
        return code

    def _save(self) -> None:
        root = self.folder / "checkpoints"
        folder, scratch = root / f"step-{self.step:08d}", root / f".writing-{self.step}"
        if folder.exists():
            return
        state = json.dumps({"step": self.step, "loss": self.loss}).encode()
        facts = {"state.json": {"sha256": hashlib.sha256(state).hexdigest(), "size": len(state)}}
        try:
            scratch.mkdir(parents=True)
            (scratch / "state.json").write_bytes(state)
            (scratch / "manifest.json").write_text(
                json.dumps({"version": 1, "step": self.step, "files": facts})
            )
            scratch.rename(folder)
        except OSError as error:
            self.unsaved = f"the disk refused a checkpoint: {error.strerror}"
            return
        self.log.emit(
            "checkpoint",
            step=self.step,
            stage="steady",
            folder=f"checkpoints/{folder.name}",
            bytes=len(state),
            best=False,
            metrics={},
        )
        for old in sorted(root.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old)
            self.log.emit("checkpoint_removed", step=self.step, folder=f"checkpoints/{old.name}")

    def _request_stop(self, *_: Any) -> None:
        self.stop = True


def _newest(run: Path) -> Path | None:
    """Return the last checkpoint of the latest attempt that has one."""
    candidates = [
        (int(folder.parts[-3]), folder.name, folder)
        for folder in run.glob("attempts/*/checkpoints/step-*")
    ]
    return max(candidates)[2] if candidates else None


if __name__ == "__main__":
    sys.exit(main())
