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

from webapp.nodes.plan import Held, Machine, Placement, Plan, Waiting, plan
from webapp.nodes.requests import Request

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TEAMS = (1, 2, 3)

requests = st.builds(
    Request,
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
    lambda found: [replace(one, name=f"m{n}") for n, one in enumerate(found)]
)
quotas = st.dictionaries(st.sampled_from(TEAMS), st.integers(1, 8))


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
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
        Waiting(
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
def scenes(draw: st.DrawFn) -> tuple[list[Waiting], list[Machine], list[Held], dict[int, int]]:
    """A queue before machines of which a part is held."""
    machines = draw(fleets)
    held = [
        Held(one.name, kind, count, draw(st.sampled_from([None, *TEAMS])))
        for one in machines
        for kind, total in one.devices.items()
        if (count := draw(st.integers(0, total)))
    ]
    return draw(queues()), machines, held, draw(quotas)


def taken(held: Sequence[Held], placements: Sequence[Placement]) -> Counter[tuple[str, str]]:
    """Devices that are held in the end, by machine and kind."""
    found = Counter({(one.machine, one.kind): 0 for one in held})
    for one in held:
        found[one.machine, one.kind] += one.count
    for placed in placements:
        for name in placed.machines:
            found[name, placed.kind] += placed.devices
    return found


@given(scenes())
def test_no_device_is_lent_twice_and_none_of_a_machine_that_is_away(
    scene: tuple[list[Waiting], list[Machine], list[Held], dict[int, int]],
) -> None:
    waiting, machines, held, limits = scene
    placements, _ = plan(waiting, machines, held, limits)
    by_name = {one.name: one for one in machines}
    for (name, kind), count in taken(held, placements).items():
        assert count <= by_name[name].devices[kind]
    assert all(by_name[name].usable for placed in placements for name in placed.machines)


@given(scenes())
def test_what_is_placed_is_what_was_asked_for(
    scene: tuple[list[Waiting], list[Machine], list[Held], dict[int, int]],
) -> None:
    waiting, machines, held, limits = scene
    placements, waits = plan(waiting, machines, held, limits)
    assert sorted([placed.run for placed in placements] + list(waits)) == [
        one.run for one in waiting
    ], "each is placed or told why not"
    assert all(wait.why for wait in waits.values())
    asked, by_name = {one.run: one.request for one in waiting}, {one.name: one for one in machines}
    memory: Counter[str] = Counter()
    for placed in placements:
        request = asked[placed.run]
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


@given(scenes())
def test_no_team_goes_beyond_its_quota(
    scene: tuple[list[Waiting], list[Machine], list[Held], dict[int, int]],
) -> None:
    waiting, machines, held, limits = scene
    placements, _ = plan(waiting, machines, held, limits)
    team_of = {one.run: one.team for one in waiting}
    used = Counter(dict.fromkeys(TEAMS, 0))
    for one in held:
        used[one.team or 0] += one.count
    for placed in placements:
        used[team_of[placed.run]] += placed.devices * len(placed.machines)
        assert used[team_of[placed.run]] <= limits.get(team_of[placed.run], 10**6)


@given(scenes())
def test_nothing_is_left_free_that_a_run_waits_for_unless_it_is_kept(
    scene: tuple[list[Waiting], list[Machine], list[Held], dict[int, int]],
) -> None:
    waiting, machines, held, limits = scene
    waiting = [replace(one, request=replace(one.request, memory=0)) for one in waiting]
    placements, waits = plan(waiting, machines, held, limits)
    full = taken(held, placements)
    for one in waiting:
        if one.run in waits and waits[one.run].cause == "free":
            kinds = ["cpu", "cuda"] if one.request.kind == "auto" else [one.request.kind]
            room = {
                kind: sum(
                    m.usable and m.devices[kind] - full[m.name, kind] >= one.request.devices
                    for m in machines
                )
                for kind in kinds
            }
            assert min(room.values()) < one.request.nodes
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
def test_a_run_that_can_be_carried_is_carried_whatever_else_arrives(
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
    wanted = Request(devices, "cpu", nodes, memory)
    if sum(machine.suits(wanted, "cpu") for machine in machines) < nodes:
        return
    limits, capacity = {1: devices * nodes}, sum(machine.devices["cpu"] for machine in machines)
    target = Waiting(0, 1, wanted, BEGIN, priority=-1)
    queue, running, rounds = [target], list[tuple[int, list[Held]]](), 0
    for rounds in range(patience + 3 + longest * (capacity + 1)):
        running = [(end, parts) for end, parts in running if end > rounds]
        for _ in range(2 * capacity - len(queue)):
            small = Request(1, "cpu", memory=random.randint(0, 8))
            queue.append(
                Waiting(
                    max(one.run for one in queue) + 1,
                    random.choice(TEAMS),
                    small,
                    BEGIN + timedelta(minutes=rounds + 1),
                    1,
                )
            )
        late = [
            replace(one, overdue=BEGIN + timedelta(minutes=rounds - patience) >= one.queued_at)
            for one in queue
        ]
        placements, _ = plan(
            late, machines, [part for _, parts in running for part in parts], limits
        )
        placed = {one.run: one for one in placements}
        if 0 in placed:
            break
        for one in queue:
            if one.run in placed:
                memory_of = one.request.memory * one.request.devices
                parts = [
                    Held(name, "cpu", one.request.devices, one.team, memory_of)
                    for name in placed[one.run].machines
                ]
                running.append((rounds + random.randint(2, longest), parts))
        queue = [one for one in queue if one.run not in placed]
    assert rounds <= patience + 1 + longest * (capacity + 1)


# Examples, with the words


def runs(*requests: Request, team: int = 1, start: int = 0) -> list[Waiting]:
    return [
        Waiting(start + n, team, request, BEGIN + timedelta(minutes=start + n))
        for n, request in enumerate(requests)
    ]


def gpus(count: int, name: str = "gpu-3", **changes: Any) -> Machine:
    return replace(Machine(name, {"cpu": 2, "cuda": count}), **changes)


def whys(found: Plan) -> dict[int, str]:
    return {run: wait.why for run, wait in found[1].items()}


def test_a_run_that_waits_for_gpus_says_how_many_are_free_and_where() -> None:
    found = plan(
        runs(Request(2, "cuda"), Request(1, "cuda")), [gpus(2)], [Held("gpu-3", "cuda", 1)], {}
    )
    assert whys(found) == {
        0: "needs 2 GPUs; 1 free on gpu-3, kept for it until the rest is given back",
        1: "needs 1 GPU; what is free is kept for a run before it",
    }


def test_nothing_is_said_to_be_kept_where_nothing_is_free() -> None:
    found = plan(
        runs(Request(1, "cpu"), Request(1, "cpu")), [gpus(2)], [Held("gpu-3", "cpu", 2)], {}
    )
    assert whys(found)[1] == "needs 1 CPU slot; none free on gpu-3"


def test_what_can_never_run_here_says_so_and_keeps_nobody_waiting() -> None:
    waiting = runs(
        Request(8, "cuda"),
        Request(1, "cuda", memory=2**40),
        Request(1, "cuda", nodes=2),
        Request(1, "cuda"),
    )
    found = plan(waiting, [gpus(2, gpu_memory=2**37)], [], {})
    assert whys(found) == {
        0: "no machine has 8 GPUs",
        1: "no GPU has the 1,024.0 GiB of memory that it needs at least",
        2: "needs 2 machines with 1 GPU each, and there are 1",
    }
    assert [placed.run for placed in found[0]] == [3]


def test_machines_that_are_drained_or_lost_are_named() -> None:
    assert whys(plan(runs(Request(2, "cuda")), [gpus(2, draining=True)], [], {})) == {
        0: "gpu-3 is being drained"
    }
    both = [gpus(2, draining=True), gpus(4, "gpu-4", lost=True)]
    assert whys(plan(runs(Request(2, "cuda")), both, [], {})) == {
        0: "gpu-3 is being drained, gpu-4 has not been heard of"
    }


def test_a_quota_holds_the_team_back_and_nobody_else() -> None:
    waiting = runs(Request(2, "cuda"), Request(1, "cuda")) + runs(
        Request(1, "cuda"), team=2, start=2
    )
    found = plan(
        [*waiting, *runs(Request(4, "cuda"), start=3)],
        [gpus(8)],
        [Held("gpu-3", "cuda", 2, team=1)],
        {1: 3},
    )
    assert whys(found) == {
        0: "the team's quota of 3 devices is used up",
        1: "waits behind a run of the team that waits for its quota",
        3: "needs 4 devices, and the team's quota is 3",
    }
    assert [placed.run for placed in found[0]] == [2]


def test_teams_take_turns_however_many_runs_one_of_them_queues() -> None:
    waiting = runs(*[Request(1, "cuda")] * 6) + runs(*[Request(1, "cuda")] * 6, team=2, start=10)
    placements, _ = plan(waiting, [gpus(4)], [], {})
    assert [placed.run for placed in placements] == [0, 10, 1, 11]
    placements, _ = plan(waiting, [gpus(4)], [Held("gpu-3", "cuda", 2, team=1)], {})
    assert [placed.run for placed in placements] == [10, 11], "the team that holds less is next"


def test_within_a_team_priority_comes_before_place_and_place_before_age() -> None:
    old, urgent, second, first = runs(*[Request(1, "cuda")] * 4)
    waiting = [
        old,
        replace(urgent, priority=1),
        replace(second, position=1),
        replace(first, position=0),
    ]
    placements, _ = plan(waiting, [gpus(4)], [], {})
    assert [placed.run for placed in placements] == [1, 3, 2, 0]


def test_small_runs_are_packed_so_that_large_ones_find_room() -> None:
    placements, waits = plan(
        runs(Request(1, "cuda"), Request(4, "cuda")),
        [gpus(4, "a"), gpus(4, "b")],
        [Held("b", "cuda", 2)],
        {},
    )
    assert [placed.machines for placed in placements] == [("b",), ("a",)] and not waits


def test_auto_takes_a_gpu_where_there_are_any_and_the_cpu_elsewhere() -> None:
    on_cpu, _ = plan(runs(Request(1)), [Machine("small", {"cpu": 2})], [], {})
    assert on_cpu[0].kind == "cpu"
    found = plan(
        runs(Request(1), Request(2, "cpu")),
        [gpus(1, draining=True), Machine("small", {"cpu": 2})],
        [],
        {},
    )
    assert whys(found) == {0: "gpu-3 is being drained"}
    assert [placed.kind for placed in found[0]] == ["cpu"]


def test_several_machines_are_given_together_or_not_at_all() -> None:
    pair = [gpus(2, "a"), gpus(2, "b")]
    placements, _ = plan(runs(Request(2, "cuda", nodes=2)), pair, [], {})
    assert placements == [Placement(0, "cuda", 2, ("a", "b"))]
    found = plan(
        runs(Request(2, "cuda", nodes=2), Request(2, "cuda")), pair, [Held("b", "cuda", 1)], {}
    )
    assert found[0] == [] and "2 free on a, 1 free on b, kept for it" in found[1][0].why
