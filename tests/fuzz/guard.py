"""What holds for every input: the time and the memory that it costs, and where it writes.

Seconds are processor time of this process and, where a database is read, of its server process, so
that a busy machine raises no alarm. Writing is seen by Python's audit events; `SECRET`, beside the
folder of the inputs, stands for everything that no input may have read.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.inputs import Input, Read

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("trainer", "webapp", "workers")
SECONDS = 1.0
# Python code that takes so long is interrupted; what does not return to Python is killed.
MOST_SECONDS = 10.0
MOST_BYTES = 200 * 2**20
LONGEST_OUTCOME = 10_000
SECRET = "secret"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events whose first arguments are paths, with the number of these.
CHANGES = {
    "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
    "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1, "shutil.rmtree": 1,
    "shutil.copyfile": 2, "shutil.move": 2, "os.setxattr": 1,
}  # fmt: skip
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")


@dataclass(frozen=True)
class Failure:
    """`kind` with `place` tells failures apart; `text` is for a person."""

    kind: str
    place: str
    text: str


@dataclass(frozen=True)
class Result:
    """What came of an input; `failure` is None if everything that must hold did."""

    outcome: str
    seconds: float
    growth: int
    failure: Failure | None = None


class TooLongError(BaseException):
    """Ends an input that takes longer than MOST_SECONDS; no `except Exception` stops it."""


class Guard:
    """Examines inputs one after the other; `folder` is where they may write.

    `server_seconds` is the processor time of servers that work for the inputs. Without `timed` an
    input may take any time, as in tests, which must not depend on the speed of a machine.
    """

    def __init__(
        self, folder: Path, server_seconds: Callable[[], float] = lambda: 0.0, timed: bool = True
    ) -> None:
        self.folder = folder.resolve()
        self.files = self.folder / "input"
        (self.folder / SECRET).write_text("nobody may read this")
        self._server_seconds, self._timed = server_seconds, timed
        self._slow_place = ""
        if timed:
            signal.signal(signal.SIGPROF, self._note_place)

    def examine(self, read: Read, input: Input) -> Result:
        """Give an input to a target."""
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()
        self._slow_place, failure, outcome = "", None, ""
        before = _reset_peak()
        watch = _Watch(self.folder)
        start = time.process_time() + self._server_seconds()
        try:
            with self._timer(), watch.active():
                outcome = read(input, self.files)
        except TooLongError as error:
            failure = failure_of(error, "took too long")
        except MemoryError as error:
            failure = failure_of(error, "needs too much memory")
        except Exception as error:
            failure = failure_of(error, type(error).__name__)
        seconds = time.process_time() + self._server_seconds() - start
        growth = _peak() - before
        failure = failure or watch.failure or self._cost(outcome, seconds, growth)
        return Result(outcome, seconds, growth, failure)

    def _cost(self, outcome: str, seconds: float, growth: int) -> Failure | None:
        if self._timed and seconds > SECONDS:
            return Failure("slow", self._slow_place, f"{seconds:.2f} s of processor time")
        if growth > MOST_BYTES:
            return Failure("memory", "", f"{growth / 2**20:.0f} MiB more at its peak")
        if len(outcome) > LONGEST_OUTCOME:
            return Failure("long message", "", outcome[:500])
        try:
            outcome.encode()
        except UnicodeEncodeError:
            return Failure("message that cannot be sent", "", repr(outcome[:500]))
        return None

    @contextmanager
    def _timer(self) -> Iterator[None]:
        if not self._timed:
            yield
            return
        signal.setitimer(signal.ITIMER_PROF, SECONDS, MOST_SECONDS - SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _note_place(self, number: int, frame: FrameType | None) -> None:
        if self._slow_place:
            raise TooLongError
        self._slow_place = place_of(traceback.extract_stack(frame)) or "unknown"


class _Watch:
    """Writing outside a folder, reading of SECRET, and started programs, while `active`."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.failure: Failure | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        _install_hook()
        _watches.append(self)
        try:
            yield
        finally:
            _watches.remove(self)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITING) if isinstance(flags, int) else "r" not in (mode or "r")
            if writes:
                self._check(event, path)
            elif _real(path) in (os.path.join(self.folder, SECRET), "/etc/passwd"):
                self._fail(event, path)
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                self._check(event, path)
        elif event in PROGRAMS:
            self._fail(event, arguments[0] if arguments else "")

    def _check(self, event: str, path: Any) -> None:
        text = _real(path)
        is_inside = text == self.folder or text.startswith(self.folder + os.sep)
        if text and not is_inside and "__pycache__" not in text and text != os.devnull:
            self._fail(event, path)

    def _fail(self, event: str, path: Any) -> None:
        if self.failure is None:
            place = place_of(traceback.extract_stack())
            self.failure = Failure("outside its folder", place, f"{event} {_text(path)!r}")


_watches: list[_Watch] = []
_hooks: list[object] = []


def _install_hook() -> None:
    # A hook can never be removed, so there is one, which does nothing while nobody watches.
    if not _hooks:
        _hooks.append(_hook)
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches and (event == "open" or event in CHANGES or event in PROGRAMS):
        for watch in list(_watches):
            watch.see(event, arguments)


def _real(path: Any) -> str:
    """The path without links; empty for an open file."""
    return "" if isinstance(path, int) else os.path.realpath(_text(path))


def _text(path: Any) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)


def failure_of(error: BaseException, kind: str) -> Failure:
    stack = traceback.extract_tb(error.__traceback__)
    text = "".join(traceback.format_exception(error))
    return Failure(kind, place_of(stack), text if len(text) < 8000 else text[:2000] + text[-6000:])


def place_of(stack: traceback.StackSummary) -> str:
    """The last line of the program in a stack: `trainer/plain_yaml.py:65`."""
    own = [frame for frame in stack if frame.filename.startswith(f"{ROOT}{os.sep}")]
    own = [frame for frame in own if Path(frame.filename).relative_to(ROOT).parts[0] in PACKAGES]
    frame = own[-1] if own else stack[-1] if stack else None
    if frame is None:
        return ""
    path = Path(frame.filename)
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-2:])
    return f"{name.as_posix()}:{frame.lineno}"


def _reset_peak() -> int:
    """Begin to measure the most memory anew; return the memory in use, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory()


def _peak() -> int:
    return memory("VmHWM")


def memory(name: str = "VmRSS") -> int:
    """Bytes of this process, by the kernel's name for what is counted."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text[text.index(name + ":") :].split(None, 2)[1])
