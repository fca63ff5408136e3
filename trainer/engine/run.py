"""Start or resume a run in its folder; `python -m trainer run` and `resume` call this.

    RUN_DIR/spec.json                      the definition
    RUN_DIR/attempts/<n>/events/           the event log of each attempt (`events`)
    RUN_DIR/attempts/<n>/side/             tables that events refer to
    RUN_DIR/attempts/<n>/checkpoints/      what to resume from (`checkpoints`)

Both return the exit code of the trainer (`ExitCode`). A run ends with an `end` event unless a
second stop signal kills it. Of several processes the leading one writes here; the others write into
a temporary folder that is deleted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from trainer.engine import checkpoints, devices, environment, memory
from trainer.engine.attempts import attempts, next_attempt
from trainer.engine.checkpoints import DamagedCheckpoint, Snapshot
from trainer.engine.console import Console
from trainer.engine.distributed import ranks
from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.distributed.world import World, is_lost_peer
from trainer.engine.loop import Method, Runtime, train
from trainer.engine.outcome import DiskFull, Failure, OutOfMemory, RunExit, RunRefused, Stopped
from trainer.events import DISK_FULL_ERRNOS, EventLog, segments
from trainer.exit_codes import ExitCode
from trainer.spec import RunSpec, SpecError, load, to_dict

# Reads the definition and, for a resumed run, the checkpoint; writes the first events of the log.
OpenRun = Callable[[EventLog, ProcessRank], tuple[RunSpec, Snapshot | None]]
FROM_STEP_0 = "Started from step 0: there is no checkpoint to resume from."
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Modality:
    """What the engine needs to train one kind of network, such as language models.

    `method` creates the method of a definition. `explain_error` turns an exception class of the
    modality into a failure with a reason and a remedy, and returns None for any other exception.
    """

    method: Callable[[RunSpec], Method]
    explain_error: Callable[[Exception], Failure | None]


class UnexplainedFailure(Failure):
    """An exception that nothing explains; the log has its traceback."""


def start(modality: Modality, spec_path: Path, run_dir: Path, attempt: int | None = None) -> int:
    """Run the definition at `spec_path` (YAML or JSON) in `run_dir`; return the exit code."""

    def open_run(log: EventLog, rank: ProcessRank) -> tuple[RunSpec, Snapshot | None]:
        # This attempt's own folder does not count: its log is open by now.
        if rank.is_leader and any(
            segments(folder / "events")
            for folder in attempts(run_dir)
            if folder != log.folder.parent
        ):
            raise RunRefused(
                f"{run_dir} already holds a run.", "Resume it, or choose an empty folder."
            )
        spec = _read_spec(spec_path)
        # Written out with all defaults, so that a later version of the program resumes the same
        # run.
        if rank.is_leader and spec_path.resolve() != (run_dir / "spec.json").resolve():
            (run_dir / "spec.json").write_text(
                json.dumps(to_dict(spec), indent=1, ensure_ascii=False)
            )
        return spec, None

    return _run_attempt(modality, run_dir, attempt or 1, open_run)


def resume(
    modality: Modality,
    run_dir: Path,
    attempt: int | None = None,
    checkpoint: Path | None = None,
    from_scratch: bool = False,
) -> int:
    """Resume the run in `run_dir` from `checkpoint`, by default the newest undamaged one.

    It starts from step 0 if there is none, or with `from_scratch`. Returns the exit code.
    """

    def open_run(log: EventLog, rank: ProcessRank) -> tuple[RunSpec, Snapshot | None]:
        # Collected, because `rewind` must be the first event of a resumed attempt (docs/events.md).
        messages: list[str] = []
        snapshot = None
        if checkpoint:
            snapshot = _load_checkpoint(checkpoint)
        elif not from_scratch:
            snapshot = _newest_checkpoint(run_dir, messages)
        log.emit("rewind", step=snapshot.step if snapshot else -1)
        if scale := ranks.micro_scale_variable():
            messages.append(
                f"Memory ran out in one of the processes; they resume with {scale:.3g} of the "
                "micro-batch."
            )
        for message in messages:
            log.log("warning", message)
        log.log(
            "info",
            f"Resumed from the checkpoint of step {snapshot.step}." if snapshot else FROM_STEP_0,
        )
        return _read_spec(run_dir / "spec.json"), snapshot

    return _run_attempt(modality, run_dir, attempt or next_attempt(run_dir), open_run)


def _newest_checkpoint(run_dir: Path, messages: list[str]) -> Snapshot | None:
    """Return the last undamaged checkpoint of the latest attempt that has one.

    Appends a sentence to `messages` for each damaged checkpoint that is skipped.
    """
    # By number and not by name: attempt 10 is later than attempt 9.
    for attempt in sorted(attempts(run_dir), key=lambda folder: int(folder.name), reverse=True):
        for folder in checkpoints.list_folders(attempt / "checkpoints"):
            try:
                return checkpoints.load(folder)
            except DamagedCheckpoint as damage:
                messages.append(
                    f"The checkpoint {folder.name} of attempt {attempt.name} is skipped: {damage}."
                )
    return None


def _run_attempt(modality: Modality, run_dir: Path, attempt: int, open_run: OpenRun) -> int:
    rank = ranks.rank_of_this_process() or ProcessRank()
    with ExitStack() as stack:
        stack.enter_context(_restored_signals())
        # Every rank logs, but one run has one log: the others' is thrown away.
        if not rank.is_leader:
            run_dir = Path(stack.enter_context(TemporaryDirectory(prefix=f"rank-{rank.rank}-")))
        folder = run_dir / "attempts" / str(attempt)
        try:
            log = EventLog(
                folder / "events", attempt, listener=Console() if rank.is_leader else None
            )
        except OSError as error:
            # Without a log there is no `end` event, so stderr is the only place for the reason.
            print(
                f"The event log cannot be created in {folder}: {error.strerror}. "
                "Free some space or choose another folder.",
                file=sys.stderr,
            )
            return ExitCode.DISK_FULL
        run_exit = _caught(modality, log, rank, lambda: _run(modality, folder, log, open_run, rank))
        # The process that started the ranks writes one `end` event for all of them.
        if rank.exit_file is not None:
            rank.exit_file.write_text(json.dumps(asdict(run_exit)))
        elif rank.is_leader:
            log.emit("end", **run_exit.fields())
            print(run_exit, file=sys.stderr)
        log.close()
    return run_exit.code


def _run(
    modality: Modality, folder: Path, log: EventLog, open_run: OpenRun, rank: ProcessRank
) -> tuple[str, str]:
    spec, snapshot = open_run(log, rank)
    device = devices.prepare(spec.compute, rank)
    log.emit("environment", **environment.facts(device))
    world = World(rank, device)
    if not world.all_equal(snapshot.step if snapshot else -1):
        raise RunRefused(
            "The machines of the run would resume from different checkpoints.",
            "Name one that all have, and resume the run.",
        )
    rt = Runtime(folder, log, device, spec.checkpoints, spec.evaluation.every, world, spec.compute)
    _install_stop_requests(rt, rank)
    with closing(modality.method(spec)) as method:
        # Closed only where all ranks arrive: `close` waits for the others, and after a failure on
        # this rank alone it would wait for them until the timeout.
        try:
            reason, remedy = train(method, rt, snapshot)
        except Stopped:
            world.close()
            raise
        world.close()
        return reason, remedy


def _install_stop_requests(rt: Runtime, rank: ProcessRank) -> None:
    """Turn SIGTERM and the first SIGINT into a stop request; a SIGINT after that kills.

    A rank that `processes` started is asked to stop by its parent instead.
    """
    if rank.folder is not None:

        def listen() -> None:
            # Any byte is a request. The end of the pipe says that the parent was killed.
            byte = os.read(sys.stdin.fileno(), 1)
            rt.request_stop(
                "The run was asked to stop."
                if byte
                else "The process that had started this run is gone."
            )

        threading.Thread(target=listen, name="parent", daemon=True).start()
        return

    def ask(number: int, frame: FrameType | None) -> None:
        # A flag only: a handler runs between any two bytecodes, even inside `emit` with its lock
        # held.
        rt.request_stop("The run was asked to stop.")
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    for name in SIGNALS:
        signal.signal(name, ask)


@contextmanager
def _restored_signals() -> Iterator[None]:
    """Restore the signal handlers only after the `end` event, so that no signal prevents it."""
    handlers = {name: signal.getsignal(name) for name in SIGNALS}
    try:
        yield
    finally:
        for name, handler in handlers.items():
            if signal.getsignal(name) is not handler:
                signal.signal(name, handler)


def _caught(
    modality: Modality, log: EventLog, rank: ProcessRank, run: Callable[[], tuple[str, str]]
) -> RunExit:
    """Call `run` and return how it ended, whatever it raised."""
    try:
        return RunExit(ExitCode.COMPLETED, "completed", *run())
    except Stopped as stopped:
        return RunExit(
            ExitCode.STOPPED,
            "stopped",
            str(stopped),
            "Resume the run to continue from the checkpoint.",
        )
    except Exception as error:
        failure = failure_of(error, modality)
        if isinstance(failure, UnexplainedFailure):
            traceback.print_exc()
            # The last characters of a long traceback name the error and the innermost calls.
            log.log("error", "".join(traceback.format_exception(error))[-4000:])
        return RunExit(
            failure.code,
            "failed",
            failure.reason,
            failure.remedy,
            retry=isinstance(error, OutOfMemory) and error.retry,
            peer_lost=rank.size > 1 and is_lost_peer(error),
        )


def failure_of(error: Exception, modality: Modality) -> Failure:
    """Return the failure that explains an exception: reason, remedy and exit code."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, SpecError):
        return RunRefused(
            f"The run's definition cannot be used: {error}",
            "Correct the definition and start the run again.",
        )
    if failure := modality.explain_error(error):
        return failure
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return DiskFull(f"The disk is full: {error}.", "Free some space and resume the run.")
    if memory.is_out_of_memory(error):
        return OutOfMemory(memory.first_line(error), retry=False)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return UnexplainedFailure(
        f"{type(error).__name__}: {error} (in {os.path.basename(frame.filename)}, "
        f"line {frame.lineno}).",
        "The log has the whole traceback; resume the run once the cause is removed.",
    )


def _read_spec(path: Path) -> RunSpec:
    try:
        return load(path.read_text())
    except FileNotFoundError as error:
        raise RunRefused(
            f"There is no run definition at {path}.", "Give the path of a YAML or JSON file."
        ) from error
    except UnicodeDecodeError as error:
        raise RunRefused(
            f"{path} is not text in UTF-8.", "Save the definition as UTF-8."
        ) from error


def _load_checkpoint(folder: Path) -> Snapshot:
    try:
        return checkpoints.load(folder)
    except DamagedCheckpoint as damage:
        raise RunRefused(
            f"The checkpoint {folder} cannot be used: {damage}.", "Choose another one."
        ) from damage
