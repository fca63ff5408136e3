"""What a fuzzing keeps in its folder: failures by their place, and inputs with new outcomes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.fuzz import inputs
from tests.fuzz.guard import ROOT, Failure
from tests.fuzz.inputs import Input

# Each kept input is read again at a restart.
MOST_KNOWN = 3000


class Findings:
    """`failures/` has an input and its traceback for each place; `known/` one for each outcome.

    `current.json` is the input that is being read, and `fault.txt` where the child was when it was
    killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current, self.fault = folder / "current.json", folder / "fault.txt"
        self._failures, self._known = folder / "failures", folder / "known"
        for each in (self._failures, self._known):
            each.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove what an earlier fuzzing has left in the folder."""
        for path in (*self._failures.iterdir(), *self._known.iterdir(), self.current, self.fault):
            path.unlink(missing_ok=True)

    @property
    def outcomes(self) -> int:
        return len(list(self._known.iterdir()))

    def failures(self) -> list[str]:
        """“kind at place: file” of every failure."""
        texts = (path.read_text().partition("\n")[0] for path in self._failures.glob("*.txt"))
        return sorted(texts)

    def is_new(self, failure: Failure) -> bool:
        return not self._path_of(failure).exists()

    def keep(self, failure: Failure, input: Input) -> None:
        path = self._path_of(failure)
        inputs.save(input, path)
        path.with_suffix(".txt").write_text(
            f"{failure.kind} at {failure.place or 'no place'}: {path}\n\n"
            + failure.text.encode("utf-8", "backslashreplace").decode()
        )

    def keep_current(self, kind: str) -> None:
        """Keep the input that ended the child."""
        stack = self.fault.read_text() if self.fault.exists() else ""
        lines = re.findall(rf'File "{ROOT}/((?:trainer|webapp|workers)/[^"]+)", line (\d+)', stack)
        place = ":".join(lines[0]) if lines else ""
        current = inputs.load(self.current) if self.current.exists() else {}
        self.keep(Failure(kind, place, stack), current)

    def keep_outcome(self, outcome: str, input: Input) -> bool:
        """Keep the input if no other had this outcome; return whether it was kept."""
        path = self._known / f"{_digest(without_details(outcome))}.json"
        if path.exists() or self.outcomes >= MOST_KNOWN:
            return False
        inputs.save(input, path)
        return True

    def known(self) -> list[Input]:
        return [inputs.load(path) for path in sorted(self._known.glob("*.json"))]

    def _path_of(self, failure: Failure) -> Path:
        name = re.sub(r"[^a-zA-Z0-9]+", "-", f"{failure.kind} {failure.place}")[:80]
        return self._failures / f"{name}-{_digest(failure.kind + failure.place)[:6]}.json"


def without_details(outcome: str) -> str:
    """An outcome without its numbers and quoted texts, which differ with every input."""
    outcome = re.sub(r"“[^”]*”|'[^']*'|\"[^\"]*\"", "“”", outcome)
    return re.sub(r"[\d,.]+", "0", outcome)[:200]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
