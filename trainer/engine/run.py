"""Starting and resuming a run in its folder, and ending it in words: `python -m trainer run` and
`resume` call this.

    RUN_DIR/spec.json                      the definition
    RUN_DIR/attempts/<n>/events/           the event log of each attempt (`events`)
    RUN_DIR/attempts/<n>/side/             tables that events name
    RUN_DIR/attempts/<n>/checkpoints/      what to resume from (`checkpoints`)

Both return the exit code of the trainer (`outcome`); nothing but a second stop signal leaves
without an `end` event. A process among several does its part of the run: the leading one writes
here, the others into a folder that is thrown away.
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

from trainer import exit_codes
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
from trainer.spec import RunSpec, SpecError, load, to_dict

BEGUN_ANEW = "Begun anew: there is no checkpoint to go on from."
Beginning = Callable[[EventLog, ProcessRank], tuple[RunSpec, Snapshot | None]]
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Modality:
    """What the engine has to be given of a kind of network, such as language models.

    `method` makes the method of a definition. `explain_error` turns an error of the modality's own
    into a failure with a reason and a remedy, and returns None for an error that it does not know.
    """

    method: Callable[[RunSpec], Method]
    explain_error: Callable[[Exception], Failure | None]


class UnexplainedFailure(Failure):
    """An exception that no sentence of ours explains; its trace is all there is."""


def start(modality: Modality, spec_path: Path, run_dir: Path, attempt: int | None = None) -> int:
    """Carry out the definition at `spec_path` (YAML or JSON) in `run_dir`."""

    def begin(log: EventLog, place: ProcessRank) -> tuple[RunSpec, Snapshot | None]:
        if place.is_leader and any(
            segments(folder / "events")
            for folder in attempts(run_dir)
            if folder != log.folder.parent
        ):
            raise RunRefused(
                f"{run_dir} already holds a run.", "Resume it, or choose an empty folder."
            )
        spec = _read_spec(spec_path)
        text = json.dumps(to_dict(spec), indent=1, ensure_ascii=False)
        if place.is_leader and spec_path.resolve() != (run_dir / "spec.json").resolve():
            (run_dir / "spec.json").write_text(text)
        return spec, None

    return _carry_out(modality, run_dir, attempt or 1, begin)


def resume(
    modality: Modality,
    run_dir: Path,
    attempt: int | None = None,
    checkpoint: Path | None = None,
    anew: bool = False,
) -> int:
    """Go on from `checkpoint`, or from the newest one in `run_dir` that is whole; from the
    beginning where there is none, or if `anew`.
    """

    def begin(log: EventLog, place: ProcessRank) -> tuple[RunSpec, Snapshot | None]:
        messages: list[str] = []
        snapshot = (
            _chosen(checkpoint) if checkpoint else None if anew else newest(run_dir, messages)
        )
        log.emit("rewind", step=snapshot.step if snapshot else -1)
        if scale := ranks.micro_scale_variable():
            messages.append(
                f"Memory ran out in one of the processes; they go on with {scale:.3g} of the micro-batch."
            )
        for message in messages:
            log.log("warning", message)
        log.log(
            "info",
            f"Resumed from the checkpoint of step {snapshot.step}." if snapshot else BEGUN_ANEW,
        )
        return _read_spec(run_dir / "spec.json"), snapshot

    return _carry_out(modality, run_dir, attempt or next_attempt(run_dir), begin)


def newest(run_dir: Path, messages: list[str]) -> Snapshot | None:
    """The last whole checkpoint of the latest attempt that has one; `messages` gets a sentence for
    each damaged one on the way.
    """
    for attempt in sorted(attempts(run_dir), key=lambda folder: int(folder.name), reverse=True):
        for folder in checkpoints.list_folders(attempt / "checkpoints"):
            try:
                return checkpoints.load(folder)
            except DamagedCheckpoint as damage:
                messages.append(
                    f"The checkpoint {folder.name} of attempt {attempt.name} is passed over: {damage}."
                )
    return None


def _carry_out(modality: Modality, run_dir: Path, attempt: int, begin: Beginning) -> int:
    place = ranks.rank_of_this_process() or ProcessRank()
    with ExitStack() as stack:
        stack.enter_context(_signals_as_before())
        if not place.is_leader:
            run_dir = Path(stack.enter_context(TemporaryDirectory(prefix=f"rank-{place.rank}-")))
        folder = run_dir / "attempts" / str(attempt)
        try:
            log = EventLog(folder / "events", attempt, heard=Console() if place.is_leader else None)
        except OSError as error:
            print(
                f"The event log cannot be begun in {folder}: {error.strerror}. Free some space or choose another folder.",
                file=sys.stderr,
            )
            return exit_codes.DISK_FULL
        ending = _ending(modality, log, place, lambda: _run(modality, folder, log, begin, place))
        if place.ending is not None:
            place.ending.write_text(json.dumps(asdict(ending)))
        elif place.is_leader:
            log.emit("end", **ending.fields())
            print(ending, file=sys.stderr)
        log.close()
    return ending.code


def _run(
    modality: Modality, folder: Path, log: EventLog, begin: Beginning, place: ProcessRank
) -> tuple[str, str]:
    spec, snapshot = begin(log, place)
    device = devices.prepare(spec.compute, place)
    log.emit("environment", **environment.facts(device))
    world = World(place, device)
    if not world.all_equal(snapshot.step if snapshot else -1):
        raise RunRefused(
            "The machines of the run would go on from different checkpoints.",
            "Name one that all have, and resume the run.",
        )
    rt = Runtime(folder, log, device, spec.checkpoints, spec.evaluation.every, world, spec.compute)
    _listen(rt, place)
    with closing(modality.method(spec)) as method:
        try:
            told = train(method, rt, snapshot)
        except Stopped:
            world.close()
            raise
        world.close()
        return told


def _listen(rt: Runtime, place: ProcessRank) -> None:
    """SIGTERM or SIGINT, however often the first, asks for a checkpoint and leaves; a SIGINT after
    that kills.

    A rank among several is told by its parent.
    """
    if place.folder is not None:
        threading.Thread(target=_obey, args=[rt], name="parent", daemon=True).start()
        return

    def ask(number: int, frame: FrameType | None) -> None:
        rt.request_stop("The run was asked to stop.")
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    for each in SIGNALS:
        signal.signal(each, ask)


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """What `_listen` changes lasts until the run's last words are written: a signal that comes late
    cannot cut them off.
    """
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            if signal.getsignal(each) is not handler:
                signal.signal(each, handler)


def _obey(rt: Runtime) -> None:
    """Any line from the parent, or its end, means: stop."""
    told = os.read(sys.stdin.fileno(), 1)
    rt.request_stop(
        "The run was asked to stop." if told else "The process that had started this run is gone."
    )


def _ending(
    modality: Modality, log: EventLog, place: ProcessRank, work: Callable[[], tuple[str, str]]
) -> RunExit:
    """Do the work and say how it ended."""
    try:
        return RunExit(exit_codes.COMPLETED, "completed", *work())
    except Stopped as stopped:
        return RunExit(
            exit_codes.STOPPED,
            "stopped",
            str(stopped),
            "Resume the run to go on from the checkpoint.",
        )
    except Exception as error:
        failure = failure_of(error, modality)
        if isinstance(failure, UnexplainedFailure):
            traceback.print_exc()
            log.log("error", "".join(traceback.format_exception(error))[-4000:])
        again, lost = (
            isinstance(error, OutOfMemory) and error.again,
            place.size > 1 and is_lost_peer(error),
        )
        return RunExit(failure.code, "failed", failure.reason, failure.remedy, again, lost)


def failure_of(error: Exception, modality: Modality) -> Failure:
    """What happened, in words, with the exit code and what to do."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, SpecError):
        return RunRefused(
            f"The run's definition cannot be used: {error}",
            "Correct the definition and start again.",
        )
    if failure := modality.explain_error(error):
        return failure
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return DiskFull(f"The disk is full: {error}.", "Free some space and resume the run.")
    if memory.is_out_of_memory(error):
        return OutOfMemory(memory.first_line(error), again=False)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return UnexplainedFailure(
        f"{type(error).__name__}: {error} (in {os.path.basename(where.filename)}, line {where.lineno}).",
        "The log holds the whole trace; resume the run once the cause is removed.",
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


def _chosen(folder: Path) -> Snapshot:
    try:
        return checkpoints.load(folder)
    except DamagedCheckpoint as damage:
        raise RunRefused(
            f"The checkpoint {folder} cannot be used: {damage}.", "Choose another one."
        ) from damage
