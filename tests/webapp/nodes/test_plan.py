"""Who gets which devices next: laws that hold for any queue on any machines, and the words that a
person reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from webapp.nodes.plan import Allocation, Machine, Placement, Plan, WaitingRun, plan
from webapp.nodes.requests import DeviceRequest

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TEAMS = (1, 2, 3)

requests = st.builds(
    DeviceRequest,
    devices=st.integers(1, 5),
    kind=st.sampled_from(["auto", "cpu", "cuda"]),
    nodes=st.sampled_from([1, 1, 1, 2]),
    memory=st.integers(0, 4),
)
machine = st.builds(
    Machine,
    name=st.just(""),
    devices=st.fixed_dictionaries({"cpu": st.integers(0, 5), "cuda": st.integers(0, 5)}),
    memory=st.sampled_from([0, 8, 16]),
    gpu_memory=st.sampled_from([0, 2]),
    draining=st.sampled_from([False, False, False, True]),
    lost=st.sampled_from([False, False, False, True]),
)
fleets = st.lists(machine, max_size=4).map(
    lambda machines: [replace(machine, name=f"m{n}") for n, machine in enumerate(machines)]
)
quotas = st.dictionaries(st.sampled_from(TEAMS), st.integers(1, 8))


@st.composite
def queues(draw: st.DrawFn) -> list[WaitingRun]:
    rows = draw(
        st.lists(
            st.tuples(
                requests,
                st.sampled_from(TEAMS),
                st.integers(-1, 1),
                st.none() | st.integers(0, 3),
                st.integers(0, 9),
                st.booleans(),
            ),
            max_size=8,
        )
    )
    return [
        WaitingRun(
            n,
            team,
            request,
            BEGIN + timedelta(minutes=age),
            priority,
            position,
            overdue and age < 3,
        )
        for n, (request, team, priority, position, age, overdue) in enumerate(rows)
    ]


@st.composite
def scenarios(
    draw: st.DrawFn,
) -> tuple[list[WaitingRun], list[Machine], list[Allocation], dict[int, int]]:
    """A queue before machines of which a part is allocated."""
    machines = draw(fleets)
    allocations = [
        Allocation(machine.name, kind, count, draw(st.sampled_from([None, *TEAMS])))
        for machine in machines
        for kind, total in machine.devices.items()
        if (count := draw(st.integers(0, total)))
    ]
    return draw(queues()), machines, allocations, draw(quotas)


def taken(
    allocations: Sequence[Allocation], placements: Sequence[Placement]
) -> Counter[tuple[str, str]]:
    """Devices that are allocated in the end, by machine and kind."""
    count_by_kind = Counter({(used.machine, used.kind): 0 for used in allocations})
    for allocation in allocations:
        count_by_kind[allocation.machine, allocation.kind] += allocation.count
    for placed in placements:
        for name in placed.machines:
            count_by_kind[name, placed.kind] += placed.devices
    return count_by_kind


@given(scenarios())
def test_no_device_is_allocated_twice_or_on_an_unusable_machine(
    scenario: tuple[list[WaitingRun], list[Machine], list[Allocation], dict[int, int]],
) -> None:
    waiting, machines, allocations, limits = scenario
    placements, _ = plan(waiting, machines, allocations, limits)
    by_name = {machine.name: machine for machine in machines}
    for (name, kind), count in taken(allocations, placements).items():
        assert count <= by_name[name].devices[kind]
    assert all(by_name[name].usable for placed in placements for name in placed.machines)


@given(scenarios())
def test_a_placement_matches_its_request(
    scenario: tuple[list[WaitingRun], list[Machine], list[Allocation], dict[int, int]],
) -> None:
    waiting, machines, allocations, limits = scenario
    placements, waits = plan(waiting, machines, allocations, limits)
    assert sorted([placed.run for placed in placements] + list(waits)) == [
        run.run for run in waiting
    ], "each is placed or has a reason to wait"
    assert all(wait.why for wait in waits.values())
    request_by_run, by_name = (
        {run.run: run.request for run in waiting},
        {machine.name: machine for machine in machines},
    )
    memory: Counter[str] = Counter()
    for placed in placements:
        request = request_by_run[placed.run]
        assert (placed.devices, len(set(placed.machines))) == (request.devices, request.nodes)
        assert request.kind in ("auto", placed.kind)
        for name in placed.machines:
            if placed.kind == "cpu":
                memory[name] += request.memory * request.devices
            else:
                assert not by_name[name].gpu_memory or request.memory <= by_name[name].gpu_memory
    assert all(
        not by_name[name].memory or amount <= by_name[name].memory
        for name, amount in memory.items()
    )


@given(scenarios())
def test_no_team_exceeds_its_quota(
    scenario: tuple[list[WaitingRun], list[Machine], list[Allocation], dict[int, int]],
) -> None:
    waiting, machines, allocations, limits = scenario
    placements, _ = plan(waiting, machines, allocations, limits)
    team_of = {run.run: run.team for run in waiting}
    used = Counter(dict.fromkeys(TEAMS, 0))
    for allocation in allocations:
        used[allocation.team or 0] += allocation.count
    for placed in placements:
        used[team_of[placed.run]] += placed.devices * len(placed.machines)
        assert used[team_of[placed.run]] <= limits.get(team_of[placed.run], 10**6)


@given(scenarios())
def test_a_device_that_a_run_waits_for_is_free_only_if_reserved(
    scenario: tuple[list[WaitingRun], list[Machine], list[Allocation], dict[int, int]],
) -> None:
    waiting, machines, allocations, limits = scenario
    waiting = [replace(run, request=replace(run.request, memory=0)) for run in waiting]
    placements, waits = plan(waiting, machines, allocations, limits)
    full = taken(allocations, placements)
    for run in waiting:
        if run.run in waits and waits[run.run].cause == "free":
            kinds = ["cpu", "cuda"] if run.request.kind == "auto" else [run.request.kind]
            room = {
                kind: sum(
                    m.usable and m.devices[kind] - full[m.name, kind] >= run.request.devices
                    for m in machines
                )
                for kind in kinds
            }
            assert min(room.values()) < run.request.nodes
    kept_for = [run for run, wait in waits.items() if "kept for it" in wait.why]
    assert len(kept_for) <= 2, "one reservation for each kind"


@settings(max_examples=200, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 0, 3, 6])), min_size=1, max_size=3),
    st.integers(2, 8),
    st.integers(1, 2),
    st.integers(0, 6),
    st.integers(),
)
def test_a_run_that_fits_the_machines_is_placed_whatever_else_arrives(
    sizes: list[tuple[int, int]], devices: int, nodes: int, memory: int, seed: int
) -> None:
    """A low-priority run of a team with a quota, while every round brings smaller, more urgent ones
    of its own and of other teams.
    """
    random, longest, patience = Random(seed), 6, 4
    machines = [
        Machine(f"m{n}", {"cpu": 2 * size}, memory=spare and 8 * size + spare)
        for n, (size, spare) in enumerate(sizes)
    ]
    request = DeviceRequest(devices, "cpu", nodes, memory)
    if sum(machine.suits(request, "cpu") for machine in machines) < nodes:
        return
    limits, capacity = {1: devices * nodes}, sum(machine.devices["cpu"] for machine in machines)
    target = WaitingRun(0, 1, request, BEGIN, priority=-1)
    queue, running, rounds = [target], list[tuple[int, list[Allocation]]](), 0
    for rounds in range(patience + 3 + longest * (capacity + 1)):
        running = [(end, allocations) for end, allocations in running if end > rounds]
        for _ in range(2 * capacity - len(queue)):
            small = DeviceRequest(1, "cpu", memory=random.randint(0, 8))
            queue.append(
                WaitingRun(
                    max(run.run for run in queue) + 1,
                    random.choice(TEAMS),
                    small,
                    BEGIN + timedelta(minutes=rounds + 1),
                    1,
                )
            )
        late = [
            replace(run, overdue=BEGIN + timedelta(minutes=rounds - patience) >= run.queued_at)
            for run in queue
        ]
        placements, _ = plan(
            late,
            machines,
            [allocation for _, allocations in running for allocation in allocations],
            limits,
        )
        placed = {placement.run: placement for placement in placements}
        if 0 in placed:
            break
        for run in queue:
            if run.run in placed:
                memory_of = run.request.memory * run.request.devices
                allocations = [
                    Allocation(name, "cpu", run.request.devices, run.team, memory_of)
                    for name in placed[run.run].machines
                ]
                running.append((rounds + random.randint(2, longest), allocations))
        queue = [run for run in queue if run.run not in placed]
    assert rounds <= patience + 1 + longest * (capacity + 1)


# Examples, with the words


def runs(*requests: DeviceRequest, team: int = 1, start: int = 0) -> list[WaitingRun]:
    return [
        WaitingRun(start + n, team, request, BEGIN + timedelta(minutes=start + n))
        for n, request in enumerate(requests)
    ]


def gpus(count: int, name: str = "gpu-3", **changes: Any) -> Machine:
    return replace(Machine(name, {"cpu": 2, "cuda": count}), **changes)


def whys(result: Plan) -> dict[int, str]:
    return {run: wait.why for run, wait in result[1].items()}


def test_a_run_that_waits_for_gpus_says_how_many_are_free_and_where() -> None:
    result = plan(
        runs(DeviceRequest(2, "cuda"), DeviceRequest(1, "cuda")),
        [gpus(2)],
        [Allocation("gpu-3", "cuda", 1)],
        {},
    )
    assert whys(result) == {
        0: "needs 2 GPUs; 1 free on gpu-3, kept for it until the rest is given back",
        1: "needs 1 GPU; what is free is kept for a run before it",
    }


def test_no_reservation_is_reported_where_nothing_is_free() -> None:
    result = plan(
        runs(DeviceRequest(1, "cpu"), DeviceRequest(1, "cpu")),
        [gpus(2)],
        [Allocation("gpu-3", "cpu", 2)],
        {},
    )
    assert whys(result)[1] == "needs 1 CPU slot; none free on gpu-3"


def test_a_run_that_no_machine_can_execute_says_so_and_blocks_nobody() -> None:
    waiting = runs(
        DeviceRequest(8, "cuda"),
        DeviceRequest(1, "cuda", memory=2**40),
        DeviceRequest(1, "cuda", nodes=2),
        DeviceRequest(1, "cuda"),
    )
    result = plan(waiting, [gpus(2, gpu_memory=2**37)], [], {})
    assert whys(result) == {
        0: "no machine has 8 GPUs",
        1: "no GPU has the 1,024.0 GiB of memory that it needs at least",
        2: "needs 2 machines with 1 GPU each, and there are 1",
    }
    assert [placed.run for placed in result[0]] == [3]


def test_a_run_that_no_machine_can_execute_does_not_wait_for_the_quota() -> None:
    result = plan(
        runs(DeviceRequest(4, "cuda"), DeviceRequest(1, "cuda")),
        [gpus(3)],
        [Allocation("gpu-3", "cuda", 1, team=1)],
        {1: 4},
    )
    assert whys(result) == {0: "no machine has 4 GPUs"}
    assert [placed.run for placed in result[0]] == [1]


def test_machines_that_are_drained_or_lost_are_named() -> None:
    assert whys(plan(runs(DeviceRequest(2, "cuda")), [gpus(2, draining=True)], [], {})) == {
        0: "gpu-3 is being drained"
    }
    machines = [gpus(2, draining=True), gpus(4, "gpu-4", lost=True)]
    assert whys(plan(runs(DeviceRequest(2, "cuda")), machines, [], {})) == {
        0: "gpu-3 is being drained, gpu-4 has not been heard of"
    }


def test_a_quota_holds_the_team_back_and_nobody_else() -> None:
    waiting = runs(DeviceRequest(2, "cuda"), DeviceRequest(1, "cuda")) + runs(
        DeviceRequest(1, "cuda"), team=2, start=2
    )
    result = plan(
        [*waiting, *runs(DeviceRequest(4, "cuda"), start=3)],
        [gpus(8)],
        [Allocation("gpu-3", "cuda", 2, team=1)],
        {1: 3},
    )
    assert whys(result) == {
        0: "the team's quota of 3 devices is used up",
        1: "waits behind a run of the team that waits for its quota",
        3: "needs 4 devices, and the team's quota is 3",
    }
    assert [placed.run for placed in result[0]] == [2]


def test_teams_get_fair_shares_however_many_runs_one_of_them_queues() -> None:
    waiting = runs(*[DeviceRequest(1, "cuda")] * 6) + runs(
        *[DeviceRequest(1, "cuda")] * 6, team=2, start=10
    )
    placements, _ = plan(waiting, [gpus(4)], [], {})
    assert [placed.run for placed in placements] == [0, 10, 1, 11]
    placements, _ = plan(waiting, [gpus(4)], [Allocation("gpu-3", "cuda", 2, team=1)], {})
    assert [placed.run for placed in placements] == [10, 11], "the team that holds less is next"


def test_within_a_team_priority_comes_before_position_and_position_before_age() -> None:
    old, urgent, second, first = runs(*[DeviceRequest(1, "cuda")] * 4)
    waiting = [
        old,
        replace(urgent, priority=1),
        replace(second, position=1),
        replace(first, position=0),
    ]
    placements, _ = plan(waiting, [gpus(4)], [], {})
    assert [placed.run for placed in placements] == [1, 3, 2, 0]


def test_small_runs_are_packed_so_that_large_ones_fit() -> None:
    placements, waits = plan(
        runs(DeviceRequest(1, "cuda"), DeviceRequest(4, "cuda")),
        [gpus(4, "a"), gpus(4, "b")],
        [Allocation("b", "cuda", 2)],
        {},
    )
    assert [placed.machines for placed in placements] == [("b",), ("a",)] and not waits


def test_auto_takes_a_gpu_where_there_are_any_and_the_cpu_elsewhere() -> None:
    on_cpu, _ = plan(runs(DeviceRequest(1)), [Machine("small", {"cpu": 2})], [], {})
    assert on_cpu[0].kind == "cpu"
    result = plan(
        runs(DeviceRequest(1), DeviceRequest(2, "cpu")),
        [gpus(1, draining=True), Machine("small", {"cpu": 2})],
        [],
        {},
    )
    assert whys(result) == {0: "gpu-3 is being drained"}
    assert [placed.kind for placed in result[0]] == ["cpu"]


def test_several_machines_are_allocated_together_or_not_at_all() -> None:
    pair = [gpus(2, "a"), gpus(2, "b")]
    placements, _ = plan(runs(DeviceRequest(2, "cuda", nodes=2)), pair, [], {})
    assert placements == [Placement(0, "cuda", 2, ("a", "b"))]
    result = plan(
        runs(DeviceRequest(2, "cuda", nodes=2), DeviceRequest(2, "cuda")),
        pair,
        [Allocation("b", "cuda", 1)],
        {},
    )
    assert result[0] == [] and "2 free on a, 1 free on b, kept for it" in result[1][0].why
