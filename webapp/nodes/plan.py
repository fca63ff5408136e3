"""The plan of the queue: which run gets which devices next, and why each other run waits.

`plan` is a pure function, so that pages and workers compute the same answer.

Overdue runs come first, oldest first. Then fair share: the team with the smallest usage is next,
with its runs by priority, then position in the queue, then age. A run is placed on the machines
with the fewest free devices that fit (best fit), which keeps large gaps for large runs. The first
run that has to wait for devices of a kind gets a *reservation*: what is free on the machines that
will fit it soonest is reserved for it, so that smaller runs cannot delay it for ever. Later runs
may use everything else.

A run that waits for its team's quota also blocks the team's later runs, for the same reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from webapp.nodes.requests import DeviceRequest, counted

GIB = 2**30


@dataclass(frozen=True)
class WaitingRun:
    """A run in the queue.

    `position` is set when somebody moved the run by hand; `overdue` if it waits for over a day.
    """

    run: int
    team: int
    request: DeviceRequest
    queued_at: datetime
    priority: int = 0
    position: int | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Machine:
    """What a machine has.

    `devices` counts by kind, `memory` is shared by its CPU slots, `gpu_memory` is that of each GPU;
    both in bytes, 0 if unknown.
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

    def suits(self, request: DeviceRequest, kind: str) -> bool:
        """Return whether it could run its part of the request if it were empty."""
        return self.devices.get(kind, 0) >= request.devices and self._has_memory(request, kind)

    def _has_memory(self, request: DeviceRequest, kind: str) -> bool:
        available, needed = (
            (self.gpu_memory, request.memory)
            if kind == "cuda"
            else (self.memory, request.memory * request.devices)
        )
        return not available or available >= needed


@dataclass(frozen=True)
class Allocation:
    """Allocated devices of one kind on a machine, and the machine's memory that they use."""

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
    """Why a run waits.

    `cause` is `quota`, `never` (no machine has what it needs), `drain` (machines are drained or
    lost), `free` (devices are in use) or `kept` (free devices are reserved for another run).
    """

    why: str
    cause: str


Plan = tuple[list[Placement], dict[int, Wait]]


def plan(
    queue: Sequence[WaitingRun],
    machines: Sequence[Machine],
    allocations: Sequence[Allocation],
    quotas: Mapping[int, int],
) -> Plan:
    """Return the placements in order, and why each other run waits, in the order of the queue.

    `quotas` maps team ids to the most devices their runs may use together.
    """
    planning = _Planning(machines, allocations, quotas)
    placements: list[Placement] = []
    waits: dict[int, Wait] = {}
    for run in _in_order(queue, planning):
        outcome = planning.consider(run)
        if isinstance(outcome, Placement):
            placements.append(outcome)
        else:
            waits[run.run] = outcome
    return placements, waits


def unreserved_devices(
    queue: Sequence[WaitingRun], machines: Sequence[Machine], allocations: Sequence[Allocation]
) -> dict[str, Counter[str]]:
    """Return the free devices by kind, per usable machine, that no run in the queue gets.

    Devices that are reserved for a run do not count.
    """
    planning = _Planning(machines, allocations, {})
    for run in _in_order(queue, planning):
        planning.consider(run)
    return {
        name: capacity.free
        for name, capacity in planning.capacities.items()
        if capacity.machine.usable
    }


def _in_order(queue: Sequence[WaitingRun], planning: _Planning) -> Iterator[WaitingRun]:
    """Yield the next run to consider; the order depends on what was placed before."""
    yield from sorted(
        (run for run in queue if run.overdue), key=lambda run: (run.queued_at, run.run)
    )
    # The lists are in reverse order, so that `pop` takes a team's next run from the end.
    runs_by_team: dict[int, list[WaitingRun]] = defaultdict(list)
    for run in sorted((run for run in queue if not run.overdue), key=_rank, reverse=True):
        runs_by_team[run.team].append(run)
    while runs_by_team:
        # Equal usage: the team whose next run waits longest; the id only makes the order stable.
        team = min(
            runs_by_team,
            key=lambda team: (planning.usage(team), runs_by_team[team][-1].queued_at, team),
        )
        yield runs_by_team[team].pop()
        if not runs_by_team[team]:
            del runs_by_team[team]


def _rank(run: WaitingRun) -> tuple[int, float, datetime, int]:
    return (
        -run.priority,
        float("inf") if run.position is None else run.position,
        run.queued_at,
        run.run,
    )


@dataclass
class _Capacity:
    """What is left of a machine for the next run: devices by kind and bytes of memory."""

    machine: Machine
    free: Counter[str]
    memory: int
    reserved_kinds: set[str] = field(default_factory=set)

    # The memory of a machine whose size is not known falls below zero as runs are allocated there,
    # and must not keep out a request, which needs 0 of it.
    def fits(self, request: DeviceRequest, kind: str) -> bool:
        return self.free[kind] >= request.devices and self.memory_for(request, kind) <= max(
            self.memory, 0
        )

    def memory_for(self, request: DeviceRequest, kind: str) -> int:
        """Return the bytes of the machine's memory that the request needs.

        GPUs have their own memory, and a machine of unknown memory is not limited.
        """
        return request.memory * request.devices if kind == "cpu" and self.machine.memory else 0

    def allocate(self, request: DeviceRequest, kind: str) -> None:
        self.free[kind] -= request.devices
        self.memory -= self.memory_for(request, kind)

    def reserve(self, request: DeviceRequest, kind: str) -> None:
        """Reserve what is free, up to what the request needs."""
        if self.free[kind] > 0:
            self.reserved_kinds.add(kind)
        self.free[kind] -= min(self.free[kind], request.devices)
        self.memory -= min(max(self.memory, 0), self.memory_for(request, kind))


class _Planning:
    """The state of one planning pass: what is left after each run that was considered."""

    def __init__(
        self,
        machines: Sequence[Machine],
        allocations: Sequence[Allocation],
        quotas: Mapping[int, int],
    ) -> None:
        self.quotas = quotas
        self.capacities = {
            machine.name: _Capacity(machine, Counter(machine.devices), machine.memory)
            for machine in machines
        }
        self.total = sum((Counter(machine.devices) for machine in machines), Counter())
        self.used: dict[int, Counter[str]] = defaultdict(Counter)
        self.reserved_kinds: set[str] = set()
        self.teams_over_quota: set[int] = set()
        self.reserved_quota: Counter[int] = Counter()
        for allocation in allocations:
            if allocation.machine in self.capacities:
                capacity = self.capacities[allocation.machine]
                capacity.free[allocation.kind] -= allocation.count
                capacity.memory -= allocation.memory
            if allocation.team is not None:
                self.used[allocation.team][allocation.kind] += allocation.count

    def usage(self, team: int) -> float:
        """Return the team's dominant share: its largest fraction of any kind of device."""
        # Ghodsi et al., Dominant Resource Fairness, NSDI 2011, with equal weights for all teams.
        return max(
            (
                count / self.total[kind]
                for kind, count in self.used[team].items()
                if self.total[kind]
            ),
            default=0.0,
        )

    def consider(self, run: WaitingRun) -> Placement | Wait:
        request, kind = run.request, self._kind(run.request)
        # `_never` first: `_quota` blocks the team's later runs behind this one, which may wait for
        # ever.
        if wait := self._never(request, kind) or self._quota(run):
            return wait
        usable = [
            capacity
            for capacity in self.capacities.values()
            if capacity.machine.usable and capacity.machine.suits(request, kind)
        ]
        if len(usable) < request.nodes:
            return self._unavailable(request, kind)
        fitting = [capacity for capacity in usable if capacity.fits(request, kind)]
        if len(fitting) < request.nodes:
            return self._wait(run, kind, usable)
        # Best fit: the fullest machine that still fits.
        selected = sorted(
            fitting, key=lambda capacity: (capacity.free[kind], capacity.machine.name)
        )[: request.nodes]
        for capacity in selected:
            capacity.allocate(request, kind)
        self.used[run.team][kind] += request.devices * request.nodes
        return Placement(
            run.run, kind, request.devices, tuple(capacity.machine.name for capacity in selected)
        )

    def _kind(self, request: DeviceRequest) -> str:
        """Return the kind to place on: for `auto`, a GPU if enough machines have them.

        Whether these can be used right now does not matter: the run waits for them.
        """
        if request.kind != "auto":
            return request.kind
        return "cuda" if len(self._suiting(request, "cuda")) >= request.nodes else "cpu"

    def _suiting(self, request: DeviceRequest, kind: str) -> list[Machine]:
        return [
            capacity.machine
            for capacity in self.capacities.values()
            if capacity.machine.suits(request, kind)
        ]

    def _quota(self, run: WaitingRun) -> Wait | None:
        quota = self.quotas.get(run.team)
        needed = run.request.devices * run.request.nodes
        if quota is None:
            return None
        if needed > quota:
            return Wait(f"needs {needed:,} devices, and the team's quota is {quota:,}", "never")
        if run.team in self.teams_over_quota:
            return Wait("waits behind a run of the team that waits for its quota", "quota")
        if self.used[run.team].total() + self.reserved_quota[run.team] + needed > quota:
            self.teams_over_quota.add(run.team)
            return Wait(
                f"the team's quota of {quota:,} device{'s' * (quota != 1)} is used up", "quota"
            )
        return None

    def _never(self, request: DeviceRequest, kind: str) -> Wait | None:
        """Return why the request cannot run on the present machines, even if they were empty."""
        needed = counted(request.devices, kind)
        if len(self._suiting(request, kind)) >= request.nodes:
            return None
        # Asked again without memory, to tell the person which of the two is missing.
        without_memory = DeviceRequest(request.devices, kind, request.nodes)
        if len(self._suiting(without_memory, kind)) >= request.nodes:
            memory = request.memory * (request.devices if kind == "cpu" else 1) / GIB
            return Wait(
                f"no {'machine' if kind == 'cpu' else 'GPU'} has the {memory:,.1f} GiB of memory "
                "that it needs at least",
                "never",
            )
        if request.nodes > 1:
            return Wait(
                f"needs {request.nodes} machines with {needed} each, "
                f"and there are {len(self._suiting(without_memory, kind))}",
                "never",
            )
        return Wait(f"no machine has {needed}", "never")

    def _unavailable(self, request: DeviceRequest, kind: str) -> Wait:
        """Name the machines that have what it needs but are drained or lost."""
        unavailable = [machine for machine in self._suiting(request, kind) if not machine.usable]
        reasons = [
            f"{machine.name} {'has not been heard of' if machine.lost else 'is being drained'}"
            for machine in unavailable[:3]
        ]
        return Wait(
            ", ".join(reasons) + (" and others are away too" if len(unavailable) > 3 else ""),
            "drain",
        )

    def _wait(self, run: WaitingRun, kind: str, usable: Sequence[_Capacity]) -> Wait:
        """Return the reason as text.

        The first run that waits for this kind gets a reservation of devices and quota.
        """
        request = run.request
        soonest = sorted(
            usable,
            key=lambda capacity: (
                -min(capacity.free[kind], request.devices),
                capacity.machine.name,
            ),
        )[: request.nodes]
        last = soonest[-1]
        needs = f"needs {counted(request.devices, kind)}" + (
            f" on each of {request.nodes} machines" if request.nodes > 1 else ""
        )
        is_reserved = any(kind in capacity.reserved_kinds for capacity in usable)
        if kind not in self.reserved_kinds:
            self.reserved_kinds.add(kind)
            # Otherwise the team's later runs could use up the quota while this one waits.
            self.reserved_quota[run.team] += request.devices * request.nodes
            # The text comes before `reserve`, which takes what the text counts as free.
            free = ", ".join(
                f"{capacity.free[kind] or 'none'} free on {capacity.machine.name}"
                for capacity in soonest
            )
            memory_note = "" if last.free[kind] < request.devices else ", whose memory is taken"
            reservation = (
                ", kept for it until the rest is given back"
                if last.free[kind]
                else ", where it is next"
            )
            for capacity in soonest:
                capacity.reserve(request, kind)
            return Wait(f"{needs}; {free}{memory_note}{reservation}", "free")
        if is_reserved:
            return Wait(f"{needs}; what is free is kept for a run before it", "kept")
        return Wait(f"{needs}; {last.free[kind] or 'none'} free on {last.machine.name}", "free")
