"""What a client says of a run, in one shape for every client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from webapp.runs.event_rows import storable
from webapp.runs.models import Run

LONGEST_KEY = 120
FARTHEST = 2**62


@dataclass(frozen=True)
class LoggedValues:
    """Values at a step. With an `id` it counts once by that, without one by its content. `step`
    None: the step that the run is at.
    """

    values: dict[str, float]
    step: int | None
    wall_time: float
    id: UUID | None = None


@dataclass(frozen=True)
class LogLine:
    """A line of the run's log; counts once by its `id`."""

    level: str
    message: str
    step: int | None
    wall_time: float
    id: UUID


@dataclass(frozen=True)
class RunAddress:
    """A run by its name in a client; it is made when something is first said of it."""

    team_id: int
    owner_id: int | None
    project: str
    client: str
    key: str
    name: str
    source: str = Run.Source.CLIENT


@dataclass(frozen=True)
class RunPublicId:
    """A run of the team by its public id."""

    team_id: int
    public_id: str


@dataclass(frozen=True)
class ClientBatch:
    """What one request says of one run. `not_kept` are keys of `logs` that had no number."""

    run: RunAddress | RunPublicId
    logs: list[LoggedValues] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    not_kept: frozenset[str] = frozenset()

    @property
    def describes(self) -> bool:
        """Whether it says more than values and lines."""
        return bool(self.params or self.tags or self.inputs or self.not_kept)

    @property
    def size(self) -> int:
        """Values and everything else that becomes a row; a log without values leaves one too."""
        return (
            sum(len(log.values) or 1 for log in self.logs)
            + len(self.lines)
            + len(self.params)
            + len(self.tags)
        )


def digest_id(*parts: object) -> UUID:
    """The same parts have the same id, whatever their length."""
    return UUID(
        bytes=hashlib.blake2b(
            "\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=16
        ).digest()
    )


@lru_cache(maxsize=20_000)  # a run says the same names again and again
def key(text: str) -> str:
    """The name of a series as it can be stored: names that differ stay apart, also where they have
    to be changed.
    """
    cleaned = storable(text)
    if cleaned == text:
        return cut(text, LONGEST_KEY) or "value"
    return f"{cleaned[: LONGEST_KEY - 9]}~{_digest(text)}"


def cut(name: str, longest: int) -> str:
    """A name of at most `longest` characters: a longer one is cut, and told apart by a digest of
    the whole.
    """
    return name if len(name) <= longest else f"{name[: longest - 9]}~{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def step(value: object) -> int | None:
    """`value` as a step that can be stored, which is a whole number less than FARTHEST from 0; None
    if it is none.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and abs(value) < FARTHEST else None
