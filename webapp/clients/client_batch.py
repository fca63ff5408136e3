"""What one request of a client logs about a run, in the same shape for every client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from webapp.runs.event_rows import storable
from webapp.runs.models import Run

# The width of the column `metrics_series.key`, counted in characters.
LONGEST_KEY = 120
# Half the range of a bigint column: a step plus or minus 1, and the difference of any two steps,
# still fit into one.
FARTHEST = 2**62


@dataclass(frozen=True)
class LoggedValues:
    """Values at a step; `step` None stands for the current step of the run.

    With an `id` it counts once by the id, else once by its content.
    """

    values: dict[str, float]
    step: int | None
    wall_time: float
    id: UUID | None = None


@dataclass(frozen=True)
class LogLine:
    """A line of the run's log, which counts once by its `id`."""

    level: str
    message: str
    step: int | None
    wall_time: float
    id: UUID


@dataclass(frozen=True)
class LoggedFile:
    """A file of the run at `path`: its `content`, or the `sha256` of an artifact of the team.

    With neither, the file itself comes in another request; this one has its key and caption.
    """

    path: str
    content: bytes | None = None
    sha256: str = ""
    key: str = ""
    caption: str = ""
    step: int | None = None


@dataclass(frozen=True)
class RunAddress:
    """A run by its key in the client; it is created when it is first logged to."""

    team_id: int
    owner_id: int | None
    project: str
    client: str
    key: str
    name: str
    source: str = Run.Source.CLIENT


@dataclass(frozen=True)
class RunPublicId:
    """An existing run of the team by its public id."""

    team_id: int
    public_id: str


RunName = RunAddress | RunPublicId


@dataclass(frozen=True)
class ClientBatch:
    """What one request logs to one run.

    `not_kept` are keys whose values are not numbers. `resumes`: a new process logs; its first
    values tell whether it went back to an earlier step.
    """

    run: RunName
    logs: list[LoggedValues] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    not_kept: frozenset[str] = frozenset()
    resumes: bool = False
    files: Sequence[LoggedFile] = ()

    @property
    def describes(self) -> bool:
        """Whether it holds more than values and lines."""
        return bool(self.params or self.tags or self.inputs or self.not_kept or self.resumes)

    @property
    def size(self) -> int:
        """The number of values and other rows; a log without values counts as one."""
        return (
            sum(len(log.values) or 1 for log in self.logs)
            + len(self.lines)
            + len(self.params)
            + len(self.tags)
            + len(self.files)
        )


def digest_id(*values: object) -> UUID:
    """Return an id that is a digest of `values`: equal values have the same id."""
    # The separator makes ("a", "bc") and ("ab", "c") differ.
    # Stored receipts hold these digests: with another hash or separator, a log that is sent again
    # after an upgrade would count twice.
    text = "\0".join(map(str, values))
    return UUID(bytes=hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest())


# A run logs the same names with every step, so that nearly every call finds its answer here. Twice
# MAX_SERIES of `limits`: two runs as wide as a run may be stay in the cache together.
@lru_cache(maxsize=20_000)
def key(text: str) -> str:
    """Return the name of a series as it can be stored.

    Names that had to be changed get a digest of the original, so that different names stay
    different.
    """
    cleaned = storable(text)
    if cleaned == text:
        return cut(text, LONGEST_KEY) or "value"
    # The digest is of the original: two names that differ only in what cannot be stored stay apart.
    return f"{cleaned[: LONGEST_KEY - 9]}~{_digest(text)}"


def cut(name: str, longest: int) -> str:
    """Return a name of at most `longest` characters; a longer one ends with a digest of it."""
    return name if len(name) <= longest else f"{name[: longest - 9]}~{_digest(name)}"


def _digest(name: str) -> str:
    # A name may hold half of a surrogate pair, which plain UTF-8 refuses to encode.
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def step(value: object) -> int | None:
    """Return `value` as a step, or None unless it is an integer with |step| < FARTHEST."""
    # JSON libraries write whole steps as 10.0 too; a step of 10.5 is no step.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and abs(value) < FARTHEST else None
