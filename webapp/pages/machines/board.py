"""Contents of the queue and machines pages. Work of other teams is counted, not named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

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

ON_HOLD = "on hold until somebody releases it"
BEING_PLACED = "being placed"


@dataclass(frozen=True)
class QueueRow:
    """One row of the queue. `run` is None for a run of another team.

    `position` counts the visible runs from 1; it is 0 for another team's.
    """

    run: Run | None
    needs: str
    why: str
    position: int = 0
    is_last: bool = False


@dataclass
class DeviceGroup:
    """Devices of a machine with one allocation key, or free ones (`allocated_to` is empty).

    `run` or `job` is the visible work that they are allocated to. `member` says which of several
    machines of the run this one is.
    """

    kind: str
    allocated_to: str
    indexes: list[int] = field(default_factory=list)
    name: str = ""
    memory_bytes: int | None = None
    run: Run | None = None
    job: Job | None = None
    is_own: bool = False
    member: str = ""

    @property
    def label(self) -> str:
        """`GPU 0`, or `GPUs 0–2, 5`."""
        unit = "GPU" if self.kind == Kind.CUDA else "CPU slot"
        return f"{unit}{'s' * (len(self.indexes) > 1)} {', '.join(_index_ranges(self.indexes))}"


@dataclass(frozen=True)
class MachineCard:
    """A machine with its devices. `can_move` says whether its runs could move to another one."""

    node: Node
    is_lost: bool
    devices: Sequence[DeviceGroup]
    summary: str
    can_move: bool


@dataclass(frozen=True)
class ActiveRun:
    run: Run
    state: str
    where: str


@dataclass(frozen=True)
class ActiveJob:
    """A job that has not ended. `where` is empty while none of its parts has a device."""

    job: Job
    progress: progress.JobProgress
    where: str


def queue_rows(visible_runs: QuerySet[Run]) -> list[QueueRow]:
    """The queue in the order of the plan, then the runs on hold."""
    waiting_runs = queue.waiting_runs()
    placements, waits = queue.current_plan(waiting_runs)
    requests = {waiting.run: waiting.request for waiting in waiting_runs}
    reasons = [(placement.run, BEING_PLACED) for placement in placements]
    reasons += [(run, wait.why) for run, wait in waits.items()]
    queued = visible_runs.filter(state=State.QUEUED).select_related("owner", "team")
    run_by_pk = {run.pk: run for run in queued}
    rows = [
        QueueRow(
            run_by_pk.get(pk),
            _needs(requests[pk]),
            # Why another team's run waits may name machines or quotas of that team.
            why if pk in run_by_pk or why == BEING_PLACED else "",
        )
        for pk, why in reasons
    ]
    rows += [
        QueueRow(run, _needs(request_of(run.spec or {}, run.memory_bytes)), ON_HOLD)
        for run in queued.filter(on_hold=True).order_by("queued_at")
    ]
    return list(_numbered(rows))


def machine_cards(
    nodes: QuerySet[Node], visible_runs: QuerySet[Run], visible_jobs: QuerySet[Job]
) -> list[MachineCard]:
    """Every machine with its devices, grouped by what they are allocated to."""
    devices = list(Device.objects.order_by("kind", "index"))
    groups = _device_groups(devices, visible_runs, visible_jobs)
    lost_nodes = set(queue.lost_nodes().values_list("pk", flat=True))
    usable = set(queue.live_nodes().filter(draining=False).values_list("pk", flat=True))
    return [
        MachineCard(
            node,
            node.pk in lost_nodes,
            sorted(groups[node.pk], key=lambda group: (group.kind, not group.allocated_to)),
            _free_text([device for device in devices if device.node_id == node.pk]),
            bool(usable - {node.pk}),
        )
        for node in nodes.order_by("name")
    ]


def active_runs(visible_runs: QuerySet[Run]) -> list[ActiveRun]:
    """The visible runs that are executed on machines of this installation."""
    # Definitions are large and not shown here.
    runs = (
        visible_runs.filter(state__in=ACTIVE, source=Run.Source.MANAGED)
        .select_related("owner")
        .defer("spec")
        .order_by("-pk")
    )
    return [ActiveRun(run, status_text.state_of(run), whereabouts(run)) for run in runs]


def active_jobs(visible_jobs: QuerySet[Job]) -> list[ActiveJob]:
    """The visible jobs that have not ended, oldest first."""
    jobs = list(
        visible_jobs.filter(state=JobState.RUNNING)
        .select_related("owner", "team")
        .order_by("created_at")
    )
    copies = Copy.objects.filter(shard__job__in=jobs, ended_at=None).select_related("shard")
    keys_by_job: dict[int, list[str]] = defaultdict(list)
    for copy in copies:
        keys_by_job[copy.shard.job_id].append(copy.allocation_key)
    progresses = progress.progress_by_job(jobs)
    return [ActiveJob(job, progresses[job.pk], _device_text(keys_by_job[job.pk])) for job in jobs]


def whereabouts(run: Run) -> str:
    """The devices that an active run uses; empty if it has none."""
    return _device_text([attempt_key(run.public_id, run.attempt)])


def why(run: Run) -> str:
    """Why a queued run waits."""
    if run.on_hold:
        return ON_HOLD
    _, waits = queue.current_plan()
    return waits[run.pk].why if run.pk in waits else BEING_PLACED


def _device_groups(
    devices: Sequence[Device], visible_runs: QuerySet[Run], visible_jobs: QuerySet[Job]
) -> dict[int, list[DeviceGroup]]:
    """Groups of devices by the primary key of their node. The parts of one job are one group."""
    teams = {
        *visible_runs.values_list("team", flat=True).distinct(),
        *visible_jobs.values_list("team", flat=True).distinct(),
    }
    runs, jobs = _runs_and_jobs(
        {device.allocated_to for device in devices}, visible_runs, visible_jobs
    )
    members = _members(runs.values())
    names = dict(Node.objects.values_list("pk", "name"))
    groups: dict[int, dict[tuple[str, str, str], DeviceGroup]] = defaultdict(dict)
    for device in devices:
        key = device.allocated_to
        job = jobs.get(key)
        group = DeviceGroup(
            device.kind,
            key,
            name=device.name,
            memory_bytes=device.memory_bytes,
            run=runs.get(key),
            job=job,
            is_own=device.team_id in teams,
            member=members.get((key, names[device.node_id]), ""),
        )
        # Each part of a job has an allocation key of its own, so a job's devices are grouped by it.
        identity = (device.kind, job.public_id if job else key, device.name)
        groups[device.node_id].setdefault(identity, group).indexes.append(device.index)
    return defaultdict(list, {node: list(grouped.values()) for node, grouped in groups.items()})


def _device_text(allocation_keys: Collection[str]) -> str:
    """`elm, GPUs 0–2; oak, GPU 1`."""
    if not allocation_keys:
        return ""
    devices = (
        Device.objects.filter(allocated_to__in=allocation_keys)
        .select_related("node")
        .order_by("node__name", "kind", "index")
    )
    groups: dict[tuple[str, str], DeviceGroup] = {}
    for device in devices:
        group = DeviceGroup(device.kind, device.allocated_to)
        groups.setdefault((device.node.name, device.kind), group).indexes.append(device.index)
    return "; ".join(f"{name}, {group.label}" for (name, _), group in groups.items())


def _runs_and_jobs(
    allocation_keys: Collection[str], visible_runs: QuerySet[Run], visible_jobs: QuerySet[Job]
) -> tuple[dict[str, Run], dict[str, Job]]:
    """By allocation key: the visible run, and the visible job, that the devices work for."""
    run_ids = {key: attempt[0] for key in allocation_keys if (attempt := attempt_from_key(key))}
    shard_ids = {
        key: shard for key in allocation_keys if (shard := shard_from_key(key)) is not None
    }
    runs = visible_runs.filter(public_id__in=run_ids.values()).defer("spec")
    run_by_id = {run.public_id: run for run in runs}
    shards = Shard.objects.filter(pk__in=shard_ids.values(), job__in=visible_jobs)
    job_by_shard = {shard.pk: shard.job for shard in shards.select_related("job")}
    return (
        {key: run_by_id[run_id] for key, run_id in run_ids.items() if run_id in run_by_id},
        {key: job_by_shard[shard] for key, shard in shard_ids.items() if shard in job_by_shard},
    )


def _members(runs: Iterable[Run]) -> dict[tuple[str, str], str]:
    """`leads 2 machines` or `machine 2 of 2, led by alder`, by allocation key and machine name.

    Only runs on several machines have members.
    """
    labels: dict[tuple[str, str], str] = {}
    # Earlier attempts of a run have members too: only those of the current one are at work.
    members = (
        Member.objects.filter(
            attempt__run__in=list(runs), attempt__number=F("attempt__run__attempt")
        )
        .select_related("attempt__run")
        .annotate(count=Count("attempt__members"))
    )
    for member in members:
        leader = member.attempt.host
        key = attempt_key(member.attempt.run.public_id, member.attempt.number)
        # The leader is the attempt's host and has no row of its own among the members.
        labels[key, leader] = f"leads {member.count + 1} machines"
        labels[key, member.host] = (
            f"machine {member.number + 1} of {member.count + 1}, led by {leader}"
        )
    return labels


def _numbered(rows: Sequence[QueueRow]) -> Iterator[QueueRow]:
    """The rows with the position of each visible run."""
    last = sum(row.run is not None for row in rows)
    position = 0
    for row in rows:
        if row.run is None:
            yield row
            continue
        position += 1
        yield replace(row, position=position, is_last=position == last)


def _needs(request: DeviceRequest) -> str:
    """`2 GPUs on each of 2 machines`."""
    devices = (
        f"{request.devices:,} device{'s' * (request.devices != 1)} of either kind"
        if request.kind == "auto"
        else counted(request.devices, request.kind)
    )
    return f"{devices} on each of {request.nodes} machines" if request.nodes > 1 else devices


def _free_text(devices: Sequence[Device]) -> str:
    """`2 of 8 GPUs free, 1 of 2 CPU slots free`."""
    counts = []
    for kind in (Kind.CUDA, Kind.CPU):
        present = [device for device in devices if device.kind == kind and not device.retired]
        if present:
            free = sum(not device.allocated_to for device in present)
            counts.append(f"{free} of {counted(len(present), kind)} free")
    return ", ".join(counts) or "no devices"


def _index_ranges(indexes: Sequence[int]) -> Iterator[str]:
    """0, 1, 2, 5 → `0–2`, `5`."""
    # Consecutive indexes have the same distance from their positions in the sequence.
    for _, pairs in groupby(enumerate(indexes), lambda pair: pair[1] - pair[0]):
        consecutive = [index for _, index in pairs]
        first, last = consecutive[0], consecutive[-1]
        yield str(first) if first == last else f"{first}–{last}"
