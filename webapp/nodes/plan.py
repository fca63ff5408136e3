"""Who gets which devices next, and why everybody else waits. A pure function, so that pages and
workers come to the same answer.

Runs that have waited for very long come first, the oldest of them before the others. Then teams
take turns: the one that holds the least share of the machines is next, with its runs by priority,
then place in the queue, then age. A run goes to the machines that it fills best. The first that
must wait for devices of a kind gets a *reservation*: what is free on the machines that will suit it
soonest is kept for it, so that smaller runs cannot overtake it for ever. Everything else may be
used by whoever comes later.

A run that waits for its team's quota holds the team's later runs back, for the same reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from webapp.nodes.requests import Request, counted

GIB = 2**30


@dataclass(frozen=True)
class Waiting:
    """A run in the queue. `position` is its place by hand, None without one; `overdue` if it has
    waited for very long.
    """

    run: int
    team: int
    request: Request
    queued_at: datetime
    priority: int = 0
    position: int | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Machine:
    """What a machine has: devices by kind, memory that its CPU slots share, and memory of each GPU
    (0: not known).
    """

    name: str
    devices: Mapping[str, int]
    memory: int = 0
    gpu_memory: int = 0
    draining: bool = False
    lost: bool = False

    @property
    def usable(self) -> bool:
        return not self.draining and not self.lost

    def suits(self, request: Request, kind: str) -> bool:
        """Whether it could carry its part of the request if nothing else ran there."""
        return self.devices.get(kind, 0) >= request.devices and self._remembers(request, kind)

    def _remembers(self, request: Request, kind: str) -> bool:
        there, needed = (
            (self.gpu_memory, request.memory)
            if kind == "cuda"
            else (self.memory, request.memory * request.devices)
        )
        return not there or there >= needed


@dataclass(frozen=True)
class Held:
    """Devices of one kind on a machine that somebody holds, and the memory that they take of it."""

    machine: str
    kind: str
    count: int
    team: int | None = None
    memory: int = 0


@dataclass(frozen=True)
class Placement:
    """Devices for a run: `devices` of `kind` on each of `machines`, the first of which leads."""

    run: int
    kind: str
    devices: int
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """Why a run waits. `cause`: quota, never (as things stand), drain, free (devices), kept (for
    another run).
    """

    why: str
    cause: str


Plan = tuple[list[Placement], dict[int, Wait]]


def plan(
    waiting: Sequence[Waiting],
    machines: Sequence[Machine],
    held: Sequence[Held],
    quotas: Mapping[int, int],
) -> Plan:
    """What is placed, in order, and why each other run waits, in the order of the queue. `quotas`
    by team, where there is one.
    """
    planning = _Planning(machines, held, quotas)
    placements: list[Placement] = []
    waits: dict[int, Wait] = {}
    for one in _in_order(waiting, planning):
        outcome = planning.consider(one)
        if isinstance(outcome, Placement):
            placements.append(outcome)
        else:
            waits[one.run] = outcome
    return placements, waits


def left_over(
    waiting: Sequence[Waiting], machines: Sequence[Machine], held: Sequence[Held]
) -> dict[str, Counter[str]]:
    """What nobody in the queue gets or has kept for it: free devices by kind, of each machine that
    may be used.
    """
    planning = _Planning(machines, held, {})
    for one in _in_order(waiting, planning):
        planning.consider(one)
    return {name: room.free for name, room in planning.rooms.items() if room.machine.usable}


def _in_order(waiting: Sequence[Waiting], planning: _Planning) -> Iterator[Waiting]:
    """The next to be considered, which depends on what was placed before."""
    yield from sorted(
        (one for one in waiting if one.overdue), key=lambda one: (one.queued_at, one.run)
    )
    lines: dict[int, list[Waiting]] = defaultdict(list)
    for one in sorted((one for one in waiting if not one.overdue), key=_rank, reverse=True):
        lines[one.team].append(one)
    while lines:
        team = min(lines, key=lambda team: (planning.share(team), lines[team][-1].queued_at, team))
        yield lines[team].pop()
        if not lines[team]:
            del lines[team]


def _rank(one: Waiting) -> tuple[int, float, datetime, int]:
    return (
        -one.priority,
        float("inf") if one.position is None else one.position,
        one.queued_at,
        one.run,
    )


@dataclass
class _Room:
    """What is left of a machine for the next run."""

    machine: Machine
    free: Counter[str]
    memory: int
    kept: set[str] = field(default_factory=set)

    def fits(self, request: Request, kind: str) -> bool:
        return self.free[kind] >= request.devices and self.memory_for(request, kind) <= max(
            self.memory, 0
        )

    def memory_for(self, request: Request, kind: str) -> int:
        """Of the machine's memory; GPUs have their own, and a machine that does not tell its memory
        is taken at its word.
        """
        return request.memory * request.devices if kind == "cpu" and self.machine.memory else 0

    def take(self, request: Request, kind: str) -> None:
        self.free[kind] -= request.devices
        self.memory -= self.memory_for(request, kind)

    def keep(self, request: Request, kind: str) -> None:
        """Set what is free aside, as far as the request needs it."""
        if self.free[kind] > 0:
            self.kept.add(kind)
        self.free[kind] -= min(self.free[kind], request.devices)
        self.memory -= min(max(self.memory, 0), self.memory_for(request, kind))


class _Planning:
    def __init__(
        self, machines: Sequence[Machine], held: Sequence[Held], quotas: Mapping[int, int]
    ) -> None:
        self.quotas = quotas
        self.rooms = {
            machine.name: _Room(machine, Counter(machine.devices), machine.memory)
            for machine in machines
        }
        self.total = sum((Counter(machine.devices) for machine in machines), Counter())
        self.used: dict[int, Counter[str]] = defaultdict(Counter)
        self.reserved: set[str] = set()
        self.short_teams: set[int] = set()
        self.promised: Counter[int] = Counter()
        for part in held:
            if part.machine in self.rooms:
                room = self.rooms[part.machine]
                room.free[part.kind] -= part.count
                room.memory -= part.memory
            if part.team is not None:
                self.used[part.team][part.kind] += part.count

    def share(self, team: int) -> float:
        """The largest part of any kind of device that the team holds."""
        return max(
            (
                count / self.total[kind]
                for kind, count in self.used[team].items()
                if self.total[kind]
            ),
            default=0.0,
        )

    def consider(self, one: Waiting) -> Placement | Wait:
        request, kind = one.request, self._kind(one.request)
        if wait := self._quota(one) or self._never(request, kind):
            return wait
        usable = [
            room
            for room in self.rooms.values()
            if room.machine.usable and room.machine.suits(request, kind)
        ]
        if len(usable) < request.nodes:
            return self._away(request, kind)
        fitting = [room for room in usable if room.fits(request, kind)]
        if len(fitting) < request.nodes:
            return self._wait(one, kind, usable)
        chosen = sorted(fitting, key=lambda room: (room.free[kind], room.machine.name))[
            : request.nodes
        ]
        for room in chosen:
            room.take(request, kind)
        self.used[one.team][kind] += request.devices * request.nodes
        return Placement(
            one.run, kind, request.devices, tuple(room.machine.name for room in chosen)
        )

    def _kind(self, request: Request) -> str:
        """A GPU for `auto` if the installation has machines for it, whether or not they may be used
        at the moment.
        """
        if request.kind != "auto":
            return request.kind
        return "cuda" if len(self._suiting(request, "cuda")) >= request.nodes else "cpu"

    def _suiting(self, request: Request, kind: str) -> list[Machine]:
        return [room.machine for room in self.rooms.values() if room.machine.suits(request, kind)]

    def _quota(self, one: Waiting) -> Wait | None:
        quota = self.quotas.get(one.team)
        needed = one.request.devices * one.request.nodes
        if quota is None:
            return None
        if needed > quota:
            return Wait(f"needs {needed:,} devices, and the team's quota is {quota:,}", "never")
        if one.team in self.short_teams:
            return Wait("waits behind a run of the team that waits for its quota", "quota")
        if self.used[one.team].total() + self.promised[one.team] + needed > quota:
            self.short_teams.add(one.team)
            return Wait(
                f"the team's quota of {quota:,} device{'s' * (quota != 1)} is used up", "quota"
            )
        return None

    def _never(self, request: Request, kind: str) -> Wait | None:
        """No machine, or too few of them, could ever carry it."""
        wanted = counted(request.devices, kind)
        if len(self._suiting(request, kind)) >= request.nodes:
            return None
        bare = Request(request.devices, kind, request.nodes)
        if len(self._suiting(bare, kind)) >= request.nodes:
            memory = request.memory * (request.devices if kind == "cpu" else 1) / GIB
            return Wait(
                f"no {'machine' if kind == 'cpu' else 'GPU'} has the {memory:,.1f} GiB of memory that it needs at least",
                "never",
            )
        if request.nodes > 1:
            return Wait(
                f"needs {request.nodes} machines with {wanted} each, and there are {len(self._suiting(bare, kind))}",
                "never",
            )
        return Wait(f"no machine has {wanted}", "never")

    def _away(self, request: Request, kind: str) -> Wait:
        """Machines could carry it, but not now."""
        away = [machine for machine in self._suiting(request, kind) if not machine.usable]
        said = [
            f"{machine.name} {'has not been heard of' if machine.lost else 'is being drained'}"
            for machine in away[:3]
        ]
        return Wait(
            ", ".join(said) + (" and others are away too" if len(away) > 3 else ""), "drain"
        )

    def _wait(self, one: Waiting, kind: str, usable: Sequence[_Room]) -> Wait:
        """In words, with a reservation of devices and quota if it is the first to wait for this
        kind.
        """
        request = one.request
        soonest = sorted(
            usable, key=lambda room: (-min(room.free[kind], request.devices), room.machine.name)
        )[: request.nodes]
        most = soonest[-1]
        needs = f"needs {counted(request.devices, kind)}" + (
            f" on each of {request.nodes} machines" if request.nodes > 1 else ""
        )
        kept = any(kind in room.kept for room in usable)
        if kind not in self.reserved:
            self.reserved.add(kind)
            self.promised[one.team] += request.devices * request.nodes
            there = ", ".join(
                f"{room.free[kind] or 'none'} free on {room.machine.name}" for room in soonest
            )
            short = "" if most.free[kind] < request.devices else ", whose memory is taken"
            kept_for = (
                ", kept for it until the rest is given back"
                if most.free[kind]
                else ", where it is next"
            )
            for room in soonest:
                room.keep(request, kind)
            return Wait(f"{needs}; {there}{short}{kept_for}", "free")
        if kept:
            return Wait(f"{needs}; what is free is kept for a run before it", "kept")
        return Wait(f"{needs}; {most.free[kind] or 'none'} free on {most.machine.name}", "free")
