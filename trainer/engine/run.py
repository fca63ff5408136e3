"""Starting and resuming a run in its folder, and ending it in words: `python -m trainer run` and `resume` call this.

    RUN_DIR/spec.json                      the definition
    RUN_DIR/attempts/<n>/events/           the event log of each attempt (`events`)
    RUN_DIR/attempts/<n>/side/             tables that events name
    RUN_DIR/attempts/<n>/checkpoints/      what to resume from (`checkpoints`)

Both return the exit code of the trainer (`outcome`); nothing but a second stop signal leaves without an `end` event.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import torch

from trainer.engine import checkpoints, devices, environment, outcome
from trainer.engine.checkpoints import NO_ROOM, Damaged, Snapshot
from trainer.engine.events import EventLog, segments
from trainer.engine.loop import Method, Runtime, train
from trainer.engine.outcome import DiskFull, Failure, Refused, Stopped
from trainer.spec import RunSpec, SpecError, load, to_dict

Beginning = Callable[[EventLog], tuple[RunSpec, Snapshot | None]]


def start(spec_path: Path, run_dir: Path, attempt: int | None = None) -> int:
    """Carry out the definition at `spec_path` (YAML or JSON) in `run_dir`."""

    def begin(log: EventLog) -> tuple[RunSpec, Snapshot | None]:
        if any(segments(folder / "events") for folder in _attempts(run_dir) if folder != log.folder.parent):
            raise Refused(f"{run_dir} already holds a run.", "Resume it, or choose an empty folder.")
        spec = _read_spec(spec_path)
        text = json.dumps(to_dict(spec), indent=1, ensure_ascii=False)
        if spec_path.resolve() != (run_dir / "spec.json").resolve():
            (run_dir / "spec.json").write_text(text)
        return spec, None

    return _carry_out(run_dir, attempt or 1, begin)


def resume(run_dir: Path, attempt: int | None = None, checkpoint: Path | None = None) -> int:
    """Go on from `checkpoint`, or from the newest one in `run_dir` that is whole; from the beginning where there is none."""
    number = attempt or 1 + max((int(folder.name) for folder in _attempts(run_dir)), default=0)

    def begin(log: EventLog) -> tuple[RunSpec, Snapshot | None]:
        messages: list[str] = []
        snapshot = _chosen(checkpoint) if checkpoint else newest(run_dir, messages)
        log.emit("rewind", step=snapshot.step if snapshot else -1)
        for message in messages:
            log.log("warning", message)
        log.log("info", f"Resumed from the checkpoint of step {snapshot.step}." if snapshot else "There is no checkpoint: begun anew.")
        return _read_spec(run_dir / "spec.json"), snapshot

    return _carry_out(run_dir, number, begin)


def newest(run_dir: Path, messages: list[str]) -> Snapshot | None:
    """The last whole checkpoint of the latest attempt that has one; `messages` gets a sentence for each damaged one on the way."""
    for attempt in sorted(_attempts(run_dir), key=lambda folder: int(folder.name), reverse=True):
        for folder in checkpoints.found(attempt / "checkpoints"):
            try:
                return checkpoints.load(folder)
            except Damaged as damage:
                messages.append(f"The checkpoint {folder.name} of attempt {attempt.name} is passed over: {damage}.")
    return None


def method_for(spec: RunSpec) -> Method:
    """The method that carries out a definition of this modality."""
    from trainer.text.distill import Distillation

    return {"text": Distillation}[spec.modality](spec)


def _carry_out(run_dir: Path, attempt: int, begin: Beginning) -> int:
    folder = run_dir / "attempts" / str(attempt)
    try:
        log = EventLog(folder / "events", attempt)
    except OSError as error:
        print(f"The event log cannot be begun in {folder}: {error.strerror}. Free some space or choose another folder.", file=sys.stderr)
        return outcome.DISK_FULL
    code, fields = _outcome(log, lambda: _run(folder, log, begin))
    log.emit("end", **fields)
    log.close()
    print(" ".join(filter(None, [fields["reason"], fields["remedy"]])), file=sys.stderr)
    return code


def _run(folder: Path, log: EventLog, begin: Beginning) -> tuple[str, str]:
    spec, snapshot = begin(log)
    device = devices.prepare(spec.compute)
    log.emit("environment", **environment.facts(device))
    rt = Runtime(folder, log, device, spec.checkpoints, spec.evaluation.every)
    with _stopped_by_signals(rt), closing(method_for(spec)) as method:
        return train(method, rt, snapshot)


@contextmanager
def _stopped_by_signals(rt: Runtime) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks for a checkpoint and leaves; a second one kills."""

    def ask(number: int, frame: FrameType | None) -> None:
        rt.request_stop("The run was asked to stop.")
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, ask) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _outcome(log: EventLog, work: Callable[[], tuple[str, str]]) -> tuple[int, dict[str, str]]:
    """Do the work; return the exit code and the fields of the `end` event."""
    try:
        reason, remedy = work()
        return outcome.COMPLETED, {"outcome": "completed", "reason": reason, "remedy": remedy}
    except Stopped as stopped:
        remedy = "Resume the run to go on from the checkpoint."
        return outcome.STOPPED, {"outcome": "stopped", "reason": str(stopped), "remedy": remedy}
    except Exception as error:
        failure = _explained(error)
        if failure.code == outcome.FAILED:
            traceback.print_exc()
            log.log("error", "".join(traceback.format_exception(error))[-4000:])
        return failure.code, {"outcome": "failed", "reason": failure.reason, "remedy": failure.remedy}


def _explained(error: Exception) -> Failure:
    """What happened, in words, with the exit code and what to do."""
    from trainer.text.models import ModelError
    from trainer.text.problems import ProblemError
    from trainer.text.verifiers import VerifierError

    if isinstance(error, Failure):
        return error
    if isinstance(error, SpecError):
        return Refused(f"The run's definition cannot be used: {error}", "Correct the definition and start again.")
    if isinstance(error, ModelError | ProblemError):
        return Refused(_sentence(error), "Correct the data or the networks of the run and start again.")
    if isinstance(error, VerifierError):
        return Failure(_sentence(error), "Resume the run once the verifier's process can start.")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return DiskFull(f"The disk is full: {error}.", "Free some space and resume the run.")
    if _is_out_of_memory(error):
        return Failure(
            f"The run needs more memory than there is: {str(error).splitlines()[0] if str(error) else 'an allocation failed'}.",
            "Lower compute.micro_batch_tokens, compute.generation_rows or the longest answer, and resume.",
        )
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        f"{type(error).__name__}: {error} (in {os.path.basename(where.filename)}, line {where.lineno}).",
        "The log holds the whole trace; resume the run once the cause is removed.",
    )


def _sentence(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def _read_spec(path: Path) -> RunSpec:
    try:
        return load(path.read_text())
    except FileNotFoundError as error:
        raise Refused(f"There is no run definition at {path}.", "Give the path of a YAML or JSON file.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not text in UTF-8.", "Save the definition as UTF-8.") from error


def _chosen(folder: Path) -> Snapshot:
    try:
        return checkpoints.load(folder)
    except Damaged as damage:
        raise Refused(f"The checkpoint {folder} cannot be used: {damage}.", "Choose another one.") from damage


def _attempts(run_dir: Path) -> list[Path]:
    return [folder for folder in (run_dir / "attempts").glob("*") if folder.name.isdigit()]
