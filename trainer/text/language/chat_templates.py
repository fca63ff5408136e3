"""Chat templates are rendered in a process of their own, with limits (`template_process`).

A template comes with a model from anywhere. One that loops would hold up the trainer, and one that
doubles a string forty times would take all memory of its machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import trainer

# Of the processor, so that a busy machine ends no template: an ordinary one takes milliseconds.
CPU_SECONDS = 5.0


class TemplateError(Exception):
    """The template cannot be rendered; the message says why, in a few words."""


class TemplateTooSlow(TemplateError):
    """The template has used up its processor time."""


def render(template: str, messages: Sequence[dict[str, str]], options: dict[str, Any]) -> str:
    """Return the messages as the template formats them. Raises TemplateError."""
    request = {"template": template, "messages": messages, "options": options}
    line = json.dumps(request, default=str).encode() + b"\n"
    with _lock:
        answer = _answer(line)
    if "error" in answer:
        raise TemplateError(answer["error"])
    return answer["text"]


class _Child:
    """A running `template_process`. Raises TemplateError if it does not start."""

    def __init__(self) -> None:
        # A file and not a pipe: nobody reads it while the child runs, and a full pipe would block.
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        # `-P` keeps the current folder off the path, where any file may hide a module of ours; so
        # the path must name the folder of this package.
        home = str(Path(trainer.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
        # A new process, not a fork, because this one may hold a GPU.
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "trainer.text.language.template_process"),
                str(CPU_SECONDS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, "PYTHONPATH": path},
        )
        # A process that was forked from this one must not read the answers of its parent.
        self.owner = os.getpid()
        if not self._stream(self.process.stdout).readline():
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").strip().splitlines()
            self.end()
            raise TemplateError(f"its process does not start: {(lines or ['no output'])[-1]}")

    def answer(self, line: bytes) -> bytes:
        """Return the next line; empty if the child has ended."""
        try:
            self._stream(self.process.stdin).write(line)
            self._stream(self.process.stdin).flush()
        except BrokenPipeError:
            return b""
        return self._stream(self.process.stdout).readline()

    def end(self) -> int:
        """End the child and return how it has ended; a negative code is a signal."""
        try:
            # Its output has ended, so that it is ending by itself; its own exit status tells why.
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                self._stream(stream).close()
            except BrokenPipeError:
                continue
        return code

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream


_lock = threading.Lock()
_child: _Child | None = None


def _answer(line: bytes) -> dict[str, str]:
    """Ask the child, which is started if none runs. It limits its own processor time and memory."""
    global _child
    if _child is None or _child.owner != os.getpid() or _child.process.poll() is not None:
        _child = _Child()
    text = _child.answer(line)
    if text:
        answer: dict[str, str] = json.loads(text)
        return answer
    code, _child = _child.end(), None
    if code == -signal.SIGPROF:
        raise TemplateTooSlow(f"it runs for more than {CPU_SECONDS:g} s of processor time")
    return {"error": f"its process ended with code {code}"}
