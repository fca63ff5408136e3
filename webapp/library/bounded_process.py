"""Reading of uploaded files in a child process that has limits on its time and its memory.

An uploaded file may be made to cost: a Parquet file of 500 bytes can decode to gigabytes, and a
tokenizer of 30 MB takes seconds and 300 MB, while its library holds Python's lock. In a child it
costs at most MEMORY, its time is limited, and pages are served meanwhile. Children are forked by
multiprocessing's fork server, which has the modules loaded, so that one starts in milliseconds.
Imports no Django, which a child would have to set up.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

from trainer.text.problems import ProblemError

# Bytes that a child may need on top of what the fork server has loaded.
MEMORY = 208 * 2**20
# Children that read for a page at the same time, and pages that may wait for one or have one. Both
# are fewer than the threads of the web server, which serve all other pages.
MOST_CHILDREN, MOST_PAGES, MOST_PAGES_OF_ONE = 3, 8, 4
NICE, PAUSE = 5, 1.0
BUSY = "the server is reading other files; try again in a moment"
TOO_MUCH_MEMORY = (
    f"reading the file needs more than the {MEMORY // 2**20} MB of memory that one upload may use; "
    "make its rows shorter, or leave out columns"
)
ENDED = (
    "the process that read the file was ended: the file is damaged, or it needs more than the "
    f"{MEMORY // 2**20} MB of memory that one upload may use"
)
TOO_MUCH_TIME = (
    "reading the file takes more than the {seconds:g} s that are allowed; make its rows shorter, "
    "or split it"
)

# Of the libraries that a child may load, which would start a thread per processor.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

Follow = Callable[[Any], None]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["webapp.library.data_files", "webapp.library.model_files"])
_children = BoundedSemaphore(MOST_CHILDREN)
_pages: dict[int, int] = {}
_pages_lock = Lock()


class NotRead(ProblemError):
    """The file was not read to its end, because that costs more than it may."""


class Busy(NotRead):
    """Too many other files are being read."""


class TooMuchMemory(NotRead):
    """Reading the file needs more memory than a child may have."""


class TooMuchTime(NotRead):
    """Reading the file takes longer than it may; a busy machine may be the reason."""


def for_page(owner: int, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """`run` for a page of the team `owner`; refused while too many pages read files.

    Raises ProblemError as `run` does, and Busy.
    """
    with _pages_lock:
        if sum(_pages.values()) >= MOST_PAGES or _pages.get(owner, 0) >= MOST_PAGES_OF_ONE:
            raise Busy(BUSY)
        _pages[owner] = _pages.get(owner, 0) + 1
    try:
        if not _children.acquire(timeout=seconds):
            raise Busy(BUSY)
        try:
            return run(function, *arguments, seconds=seconds)
        finally:
            _children.release()
    finally:
        with _pages_lock:
            _pages[owner] -= 1
            if not _pages[owner]:
                del _pages[owner]


def run(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float,
    follow: Follow | None = None,
    memory: int = MEMORY,
) -> Any:
    """Return what a function of a module returns in a child of its own.

    With `follow` it gets one more argument, a function whose values come to `follow`; None comes
    after each second without one. Raises ProblemError as the function does, TooMuchTime and
    TooMuchMemory.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(
        target=_execute, args=(sender, function, arguments, seconds, memory, follow is not None)
    )
    process.daemon = True
    process.start()
    sender.close()
    try:
        return _result(receiver, seconds, follow)
    except EOFError:
        process.join(1.0)
        if process.exitcode == 1:
            raise RuntimeError("the child process did not start; its log says why") from None
        # A library that gets no memory may end the process instead of raising an error.
        raise TooMuchMemory(ENDED) from None
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _result(receiver: Connection, seconds: float, follow: Follow | None) -> Any:
    """What the child returns. Raises what it raises, TooMuchTime, or EOFError if it died."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        has_news = receiver.poll(min(left, PAUSE))
        kind, value = receiver.recv() if has_news else ("progress", None)
        if kind == "result":
            return value
        if isinstance(value, Exception):
            raise value
        if follow:
            follow(value)
    raise TooMuchTime(TOO_MUCH_TIME.format(seconds=seconds))


def _execute(
    sender: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: float,
    memory: int,
    follows: bool,
) -> None:
    """The child: it reports its result or error, and ends itself if nobody ends it."""
    _limit(seconds, memory)
    reporting = (lambda value: sender.send(("progress", value)),) if follows else ()
    try:
        sender.send(("result", function(*arguments, *reporting)))
    except MemoryError:
        sender.send(("error", TooMuchMemory(TOO_MUCH_MEMORY)))
    except ProblemError as error:
        sender.send(("error", ProblemError(str(error))))
    except Exception:
        # A mistake of ours: the parent's log shows where.
        sender.send(("error", RuntimeError(traceback.format_exc())))


def _limit(seconds: float, memory: int) -> None:
    os.nice(NICE)
    os.environ.update(ONE_THREAD)
    # Nothing handles SIGALRM, so it ends the process, even inside a long call into C.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = Path("/proc/self/status")
    if status.exists():
        fields = (line.split() for line in status.read_text().splitlines())
        data = next(1024 * int(field[1]) for field in fields if field[0] == "VmData:")
        limit = data + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
