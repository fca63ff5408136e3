"""What the pages of the queue and of the machines show. Other teams' work is counted, not named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, F, QuerySet

from webapp.jobs import progress
from webapp.jobs.models import Copy, Job, Shard
from webapp.jobs.models import State as JobState
from webapp.nodes import queue
from webapp.nodes.allocation_keys import attempt_from_key, attempt_key, shard_from_key
from webapp.nodes.models import Device, Kind, Node
from webapp.nodes.requests import DeviceRequest, counted, request_of
from webapp.runs import status_text
from webapp.runs.models import ACTIVE, Member, Run, State

HELD_BACK = "on hold until somebody lets it go"
SOON = "being placed"


@dataclass(frozen=True)
class Line:
    """One row of the queue. `run` is None for another team's; `place` counts the runs of one's own
    team from 1.
    """

    run: Run | None
    needs: str
    why: str
    place: int = 0
    is_last: bool = False


@dataclass
class Lent:
    """Devices with one holder on a machine, or free ones (`holder` empty). `run` or `job` is one's
    own work that holds them.
    """

    kind: str
    holder: str
    indexes: list[int] = field(default_factory=list)
    name: str = ""
    memory_bytes: int | None = None
    run: Run | None = None
    job: Job | None = None
    is_own: bool = False
    part: str = ""
    """Which machine of several that carry the run out this one is."""

    @property
    def says(self) -> str:
        """`GPU 0–2, 5`."""
        unit = "GPU" if self.kind == Kind.CUDA else "CPU slot"
        return f"{unit}{'s' * (len(self.indexes) > 1)} {', '.join(_stretches(self.indexes))}"


@dataclass(frozen=True)
class Machine:
    """A node with what it lends."""

    node: Node
    lost: bool
    lent: Sequence[Lent]
    summary: str
    has_others: bool
    """Whether its runs could go on at another machine."""


@dataclass(frozen=True)
class RunAtWork:
    run: Run
    word: str
    where: str


@dataclass(frozen=True)
class JobAtWork:
    """A job that is not over. `where` is empty while none of its parts has a device."""

    job: Job
    progress: progress.JobProgress
    where: str


def lines(own: QuerySet[Run]) -> list[Line]:
    """The queue in the order of the plan, then the runs on hold. `own` are the runs that the person
    may see.
    """
    line = queue.waiting_runs()
    placements, waits = queue.current_plan(line)
    requests = {one.run: one.request for one in line}
    order = [(placed.run, SOON) for placed in placements] + [
        (run, wait.why) for run, wait in waits.items()
    ]
    mine = own.filter(state=State.QUEUED).select_related("owner", "team")
    named = {run.pk: run for run in mine}
    held_back = list(mine.filter(on_hold=True).order_by("queued_at"))
    found = [
        Line(named.get(run), _needs(requests[run]), why if run in named or why == SOON else "")
        for run, why in order
    ]
    found += [
        Line(run, _needs(request_of(run.spec or {}, run.memory_bytes)), HELD_BACK)
        for run in held_back
    ]
    return list(_counted(found))


def machines(nodes: QuerySet[Node], own: QuerySet[Run], jobs: QuerySet[Job]) -> list[Machine]:
    """Every machine with its devices by holder."""
    gone = set(queue.lost_nodes().values_list("pk", flat=True))
    by_node: dict[int, dict[tuple[str, str, str], Lent]] = defaultdict(dict)
    teams = {
        *own.values_list("team", flat=True).distinct(),
        *jobs.values_list("team", flat=True).distinct(),
    }
    devices = list(Device.objects.order_by("kind", "index"))
    runs, parts = _work_of({one.allocated_to for one in devices}, own, jobs)
    places, called = _parts(runs.values()), dict(Node.objects.values_list("pk", "name"))
    for one in devices:
        run, job = runs.get(one.allocated_to), parts.get(one.allocated_to)
        part = places.get((one.allocated_to, called[one.node_id]), "")
        told = Lent(
            one.kind,
            one.allocated_to,
            [],
            one.name,
            one.memory_bytes,
            run,
            job,
            one.team_id in teams,
            part,
        )
        by_node[one.node_id].setdefault(
            (one.kind, job.public_id if job else one.allocated_to, one.name), told
        ).indexes.append(one.index)
    usable = set(queue.live_nodes().filter(draining=False).values_list("pk", flat=True))
    return [
        Machine(
            node,
            node.pk in gone,
            sorted(by_node[node.pk].values(), key=lambda lent: (lent.kind, not lent.holder)),
            _has(node, devices),
            bool(usable - {node.pk}),
        )
        for node in nodes.order_by("name")
    ]


def at_work(own: QuerySet[Run]) -> list[RunAtWork]:
    """One's own active runs and where they are."""
    runs = (
        own.filter(state__in=ACTIVE, source=Run.Source.MANAGED)
        .select_related("owner")
        .defer("spec")
        .order_by("-pk")
    )
    return [RunAtWork(run, status_text.state_of(run), whereabouts(run)) for run in runs]


def jobs_at_work(own: QuerySet[Job]) -> list[JobAtWork]:
    """One's own jobs that are not over, in the order in which they were begun, and where their
    parts are.
    """
    running = list(
        own.filter(state=JobState.RUNNING).select_related("owner", "team").order_by("created_at")
    )
    copies = Copy.objects.filter(shard__job__in=running, ended_at=None).select_related("shard")
    holders: dict[int, list[str]] = defaultdict(list)
    for copy in copies:
        holders[copy.shard.job_id].append(copy.allocation_key)
    progresses = progress.progress_by_job(running)
    return [JobAtWork(job, progresses[job.pk], _places(holders[job.pk])) for job in running]


def whereabouts(run: Run) -> str:
    """On which devices an active run works; empty if it holds none."""
    return _places([attempt_key(run.public_id, run.attempt)])


def why(run: Run) -> str:
    """Why a queued run waits."""
    if run.on_hold:
        return HELD_BACK
    _, waits = queue.current_plan()
    return waits[run.pk].why if run.pk in waits else SOON


def _places(holders: Collection[str]) -> str:
    """`elm, GPUs 0–2; oak, GPU 1`."""
    held = (
        Device.objects.filter(allocated_to__in=holders)
        .select_related("node")
        .order_by("node__name", "kind", "index")
        if holders
        else ()
    )
    parts: dict[tuple[str, str], Lent] = {}
    for device in held:
        parts.setdefault(
            (device.node.name, device.kind), Lent(device.kind, device.allocated_to)
        ).indexes.append(device.index)
    return "; ".join(f"{name}, {lent.says}" for (name, _), lent in parts.items())


def _work_of(
    holders: Iterable[str], runs: QuerySet[Run], jobs: QuerySet[Job]
) -> tuple[dict[str, Run], dict[str, Job]]:
    """By holder: which of `runs`, and which of `jobs`, it works for."""
    of_runs = {holder: found[0] for holder in holders if (found := attempt_from_key(holder))}
    of_parts = {
        holder: shard for holder in holders if (shard := shard_from_key(holder)) is not None
    }
    known = {
        run.public_id: run for run in runs.filter(public_id__in=of_runs.values()).defer("spec")
    }
    parts = {
        part.pk: part.job
        for part in Shard.objects.filter(pk__in=of_parts.values(), job__in=jobs).select_related(
            "job"
        )
    }
    return (
        {holder: known[name] for holder, name in of_runs.items() if name in known},
        {holder: parts[shard] for holder, shard in of_parts.items() if shard in parts},
    )


def _parts(runs: Iterable[Run]) -> dict[tuple[str, str], str]:
    """`leads 2 machines` or `machine 2 of 2, led by alder` by holder and machine, of runs that
    several carry out.
    """
    found: dict[tuple[str, str], str] = {}
    current = {"attempt__run__in": list(runs), "attempt__number": F("attempt__run__attempt")}
    members = (
        Member.objects.filter(**current)
        .select_related("attempt__run")
        .annotate(count=Count("attempt__members"))
    )
    for one in members:
        holder = attempt_key(one.attempt.run.public_id, one.attempt.number)
        found[holder, one.attempt.host] = f"leads {one.count + 1} machines"
        found[holder, one.host] = (
            f"machine {one.number + 1} of {one.count + 1}, led by {one.attempt.host}"
        )
    return found


def _counted(found: Sequence[Line]) -> Iterator[Line]:
    last = sum(line.run is not None for line in found)
    place = 0
    for line in found:
        place += line.run is not None
        yield Line(
            line.run,
            line.needs,
            line.why,
            place if line.run else 0,
            line.run is not None and place == last,
        )


def _needs(request: DeviceRequest) -> str:
    if request.kind == "auto":
        return f"{request.devices:,} device{'s' * (request.devices != 1)} of either kind" + _each(
            request
        )
    return counted(request.devices, request.kind) + _each(request)


def _each(request: DeviceRequest) -> str:
    return f" on each of {request.nodes} machines" if request.nodes > 1 else ""


def _has(node: Node, devices: Sequence[Device]) -> str:
    """`2 of 8 GPUs free, 1 of 2 CPU slots free`."""
    said = []
    for kind in (Kind.CUDA, Kind.CPU):
        there = [
            device
            for device in devices
            if device.node_id == node.pk and device.kind == kind and not device.retired
        ]
        if there:
            said.append(
                f"{sum(not device.allocated_to for device in there)} of "
                f"{counted(len(there), kind)} free"
            )
    return ", ".join(said) or "nothing to lend"


def _stretches(indexes: Sequence[int]) -> Iterator[str]:
    """0, 1, 2, 5 → `0–2`, `5`."""
    begin = end = indexes[0]
    for index in [*indexes[1:], None]:
        if index is not None and index == end + 1:
            end = index
            continue
        yield str(begin) if begin == end else f"{begin}–{end}"
        if index is not None:
            begin = end = index
