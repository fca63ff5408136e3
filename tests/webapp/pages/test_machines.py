"""The pages of the queue and of the machines: who sees what, and what each deed does."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.webapp.conftest import SPEC
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team, User
from webapp.jobs import lifecycle as jobs
from webapp.jobs.models import Copy
from webapp.nodes import ordering
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Node
from webapp.runs import leases, lifecycle
from webapp.runs.models import Priority, Run, State

pytestmark = pytest.mark.django_db


@pytest.fixture
def elm(db: None) -> Node:
    """A machine with two slots and two GPUs."""
    node = Node.objects.create(name="elm", address="10.0.0.3", cpus=8, memory_bytes=2**35)
    for kind in ("cpu", "cuda"):
        for index in range(2):
            Device.objects.create(node=node, kind=kind, index=index)
    return node


def queued(team: Team, name: str, **compute: object) -> Run:
    return lifecycle.create_run(team, None, {**SPEC, "name": name, "compute": compute})


def at_work(run: Run, node: Node, count: int = 1, kind: str = "cuda") -> Run:
    leases.claim(run.pk, node.name)
    run.refresh_from_db()
    free = Device.objects.filter(node=node, kind=kind, allocated_to="").values("pk")[:count]
    Device.objects.filter(pk__in=free).update(
        allocated_to=attempt_key(run.public_id, run.attempt),
        allocated_since=timezone.now(),
        team=run.team,
    )
    return run


def names(team: Team) -> list[str]:
    return [run.name for run in ordering.queue_of(team)]


def text_of(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_the_run_page_and_the_queue_show_why_a_run_waits(
    client: Client, still: Team, bob: User, elm: Node
) -> None:
    at_work(queued(still, "first", device="cuda"), elm)
    waits = queued(still, "second", device="cuda", processes=2)
    client.force_login(bob)
    for address in ("/queue/", f"/runs/{waits.public_id}/"):
        assert "needs 2 GPUs; 1 free on elm, kept for it until the rest is given back" in text_of(
            client, address
        )
    assert "elm, GPU 0" in text_of(client, "/queue/")


def test_all_machines_of_a_run_are_named_wherever_it_is_shown(
    client: Client, still: Team, bob: User, elm: Node
) -> None:
    oak = Node.objects.create(name="oak", address="10.0.0.4", cpus=8, memory_bytes=2**35)
    Device.objects.create(node=oak, kind="cuda", index=0)
    run = queued(still, "wide", device="cuda", nodes=2)
    waits = queued(still, "wider", device="cuda", nodes=3)
    leases.claim(run.pk, "elm", "oak")
    Device.objects.filter(kind="cuda", index=0).update(
        allocated_to=attempt_key(run.public_id, 1), team=still
    )
    client.force_login(bob)
    for address in ("/queue/", f"/runs/{run.public_id}/"):
        assert "elm, GPU 0; oak, GPU 0" in text_of(client, address)
    machines = text_of(client, "/machines/")
    assert "leads 2 machines" in machines and "machine 2 of 2, led by elm" in machines
    assert "on elm and oak, started" in text_of(client, f"/runs/{run.public_id}/log/")
    assert "1 GPU on each of 3 machines" in text_of(client, "/queue/")
    assert "needs 3 machines with 1 GPU each, and there are 2" in text_of(
        client, f"/runs/{waits.public_id}/"
    )


def test_other_teams_are_counted_and_not_named(
    client: Client, still: Team, charlie: User, elm: Node
) -> None:
    at_work(queued(still, "secret one", device="cuda"), elm)
    queued(still, "secret two", device="cuda", processes=2)
    client.force_login(charlie)
    for address in ("/queue/", "/machines/"):
        page = text_of(client, address)
        assert "secret" not in page and "another team" in page
    assert "2 GPUs" in text_of(client, "/queue/") and "1 of 2 GPUs free" in text_of(
        client, "/machines/"
    )


def test_jobs_are_named_only_to_their_team(
    client: Client, still: Team, bob: User, charlie: User, elm: Node
) -> None:
    job = jobs.create_job(still, None, JobSpec(name="rates of sums"), 400, 2)
    jobs.create_job(still, None, JobSpec(name="for later"), 64, 1)
    for shard, device in zip(job.shards.all(), elm.devices.filter(kind="cuda"), strict=False):
        copy = Copy.objects.create(
            shard=shard, number=1, host="elm", device=f"cuda {device.index}", done=20
        )
        Device.objects.filter(pk=device.pk).update(allocated_to=copy.allocation_key, team=still)
    client.force_login(bob)
    queue, machines = text_of(client, "/queue/"), text_of(client, "/machines/")
    assert (
        "elm, GPUs 0–1" in queue
        and ">40</span> of 400" in queue
        and "for later</a>" in queue
        and "waiting for a free device" in queue
    )
    assert re.search(r"GPUs 0–1.{1,80}rates of sums</a>", machines) and "for later" not in machines
    client.force_login(charlie)
    assert "rates of sums" not in text_of(client, "/queue/") + text_of(client, "/machines/")
    assert "GPU 0" in text_of(client, "/machines/") and "another team" in text_of(
        client, "/machines/"
    )


def test_the_order_is_changed_by_hand_within_the_team(
    client: Client, still: Team, erin: User
) -> None:
    for name in ("a", "b", "c"):
        queued(still, name)
    c = Run.objects.get(name="c")
    client.force_login(erin)
    client.post(f"/queue/{c.public_id}/move/", {"where": "up"})
    assert names(still) == ["a", "c", "b"]
    client.post(f"/queue/{c.public_id}/move/", {"where": "first"})
    assert names(still) == ["c", "a", "b"]
    client.post(f"/queue/{c.public_id}/move/", {"where": "down"})
    assert names(still) == ["a", "c", "b"]
    assert [row.reason for row in c.transitions.order_by("pk")][1:] == [
        "Moved up in the queue.",
        "Moved to the front of the queue.",
        "Moved down in the queue.",
    ]
    assert c.transitions.filter(actor=erin).count() == 3


@pytest.mark.django_db(transaction=True)
def test_the_queue_can_be_changed_in_parallel(still: Team, erin: User) -> None:
    runs = [queued(still, name) for name in ("a", "b", "c", "d")]
    deeds = [
        ("move", {"where": "first"}),
        ("move", {"where": "down"}),
        ("priority", {"priority": "1"}),
        ("hold", {"on": "1"}),
    ]

    def change(seed: int) -> list[int]:
        browser, dice = Client(raise_request_exception=False), random.Random(seed)
        browser.force_login(erin)
        try:
            changes = [(dice.choice(runs), *dice.choice(deeds)) for _ in range(6)]
            return [
                browser.post(f"/queue/{run.public_id}/{deed}/", form).status_code
                for run, deed, form in changes
            ]
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        answers = [answer for answers in pool.map(change, range(12)) for answer in answers]
    assert set(answers) == {302}
    assert sorted(names(still)) == ["a", "b", "c", "d"]


def test_a_run_that_passes_a_more_urgent_one_becomes_as_urgent(still: Team, erin: User) -> None:
    urgent, usual = queued(still, "urgent"), queued(still, "usual")
    ordering.set_priority(urgent, Priority.HIGH, erin)
    ordering.move(usual, "first", erin)
    usual.refresh_from_db()
    assert names(still) == ["usual", "urgent"] and usual.priority == Priority.HIGH


def test_a_priority_is_set_and_an_invalid_one_is_refused(
    client: Client, still: Team, erin: User
) -> None:
    a, b = queued(still, "a"), queued(still, "b")
    client.force_login(erin)
    client.post(f"/queue/{b.public_id}/priority/", {"priority": "1"})
    assert names(still) == ["b", "a"]
    for nonsense in ("7", "", "high", "1" * 400):
        assert (
            client.post(f"/queue/{b.public_id}/priority/", {"priority": nonsense}).status_code
            == 302
        )
        assert client.post(f"/queue/{a.public_id}/move/", {"where": nonsense}).status_code == 302
    assert names(still) == ["b", "a"]


def test_a_run_on_hold_keeps_its_position_and_is_not_placed(
    client: Client, still: Team, erin: User
) -> None:
    run, _ = queued(still, "a"), queued(still, "b")
    client.force_login(erin)
    client.post(f"/queue/{run.public_id}/hold/", {"on": "1"})
    assert leases.claim(run.pk, "elm") is None
    assert ">held<" in text_of(client, "/")
    page = text_of(client, "/queue/")
    assert (
        'aria-label="Move a up" title="Move up" disabled' in page
        and 'aria-label="Yes, cancel a"' in page
    )
    assert "on hold" in page and names(still) == ["a", "b"]
    client.post(f"/queue/{run.public_id}/hold/", {"on": "0"})
    assert leases.claim(run.pk, "elm") is not None


def test_a_run_that_no_longer_waits_is_not_moved(
    client: Client, still: Team, erin: User, elm: Node
) -> None:
    run = at_work(queued(still, "a"), elm)
    client.force_login(erin)
    for deed, form in (
        ("move", {"where": "first"}),
        ("priority", {"priority": "1"}),
        ("hold", {"on": "1"}),
    ):
        page = client.post(f"/queue/{run.public_id}/{deed}/", form, follow=True).content.decode()
        assert "it is not in the queue any more" in page


def test_a_queued_run_is_cancelled_from_the_queue_for_good(
    client: Client, still: Team, erin: User
) -> None:
    run = queued(still, "a")
    client.force_login(erin)
    assert (
        client.post(f"/runs/{run.public_id}/stop/", {"next": "queue"}).headers["Location"]
        == "/queue/"
    )
    run.refresh_from_db()
    assert run.state == State.STOPPED and leases.claim(run.pk, "elm") is None


def test_only_runs_executed_here_are_shown_as_active(
    client: Client, still: Team, erin: User
) -> None:
    lifecycle.create_run(
        still, None, None, name="logged from afar", source=Run.Source.CLIENT, state=State.RUNNING
    )
    client.force_login(erin)
    assert "logged from afar" not in text_of(client, "/queue/")


def test_a_run_that_pauses_says_so(client: Client, still: Team, erin: User, elm: Node) -> None:
    run = at_work(queued(still, "a"), elm)
    lifecycle.pause(run, erin)
    Run.objects.filter(pk=run.pk).update(reason="The run was asked to stop.", step=1200)
    client.force_login(erin)
    page = text_of(client, f"/runs/{run.public_id}/")
    assert (
        ">pausing<" in page
        and "the trainer writes a checkpoint and frees its devices" in page
        and "asked to stop" not in page
    )
    leases.finish(
        run.pk, 1, State.STOPPED, "Stopped on request; the last state is in a checkpoint."
    )
    page = text_of(client, f"/runs/{run.public_id}/")
    assert (
        "Paused on request. Resume continues from step 1,200." in page
        and "Stopped on request" not in page
    )


def test_runs_are_not_moved_if_there_is_no_other_machine(
    client: Client, operator: User, elm: Node
) -> None:
    client.force_login(operator)
    assert "no other machine is in use" in text_of(client, "/machines/")
    Node.objects.create(name="oak", address="10.0.0.4", cpus=8, memory_bytes=2**35)
    assert "Checkpoint and move them" in text_of(client, "/machines/")


@pytest.fixture
def operator(alice: User) -> User:
    User.objects.filter(pk=alice.pk).update(is_operator=True)
    return alice


def test_an_operator_drains_a_machine_and_its_runs_finish_there(
    client: Client, still: Team, operator: User, elm: Node
) -> None:
    run = at_work(queued(still, "a", device="cuda"), elm)
    waits = queued(still, "b", device="cuda")
    client.force_login(operator)
    client.post(f"/machines/{elm.pk}/drain/")
    run.refresh_from_db()
    assert run.state == State.STARTING
    assert "being drained" in text_of(client, "/machines/")
    assert "elm is being drained" in text_of(client, f"/runs/{waits.public_id}/")
    client.post(f"/machines/{elm.pk}/undrain/")
    assert not Node.objects.get().draining


def test_runs_of_a_drained_machine_are_moved_on_request(
    client: Client, still: Team, operator: User, elm: Node
) -> None:
    run = at_work(queued(still, "a"), elm)
    client.force_login(operator)
    assert (
        "1 run will move to other machines"
        in client.post(f"/machines/{elm.pk}/drain/", {"move": "1"}, follow=True).content.decode()
    )
    run.refresh_from_db()
    assert (run.state, run.after_stop) == (State.STOPPING, State.QUEUED)
    leases.finish(
        run.pk, 1, State.STOPPED, "Stopped on request; the last state is in a checkpoint."
    )
    run.refresh_from_db()
    assert (run.state, run.restarts, run.stop_requested_at) == (State.QUEUED, 0, None)
    assert "elm is being drained" in text_of(client, f"/runs/{run.public_id}/log/")


def test_only_a_lost_machine_is_forgotten(client: Client, operator: User, elm: Node) -> None:
    client.force_login(operator)
    assert (
        "still has a heartbeat"
        in client.post(f"/machines/{elm.pk}/forget/", follow=True).content.decode()
    )
    Node.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert "no signal" in text_of(client, "/machines/")
    client.post(f"/machines/{elm.pk}/forget/")
    assert not Node.objects.exists()


def test_members_who_are_no_operators_cannot_change_machines(
    client: Client, alice: User, elm: Node
) -> None:
    client.force_login(alice)
    assert "Drain" not in text_of(client, "/machines/")
    assert client.post(f"/machines/{elm.pk}/drain/").status_code == 403


def test_a_quota_is_set_by_an_admin_and_holds_runs_back(
    client: Client, still: Team, alice: User, elm: Node
) -> None:
    client.force_login(alice)
    client.post("/team/quota/", {"devices": "1"})
    at_work(queued(still, "a", device="cuda"), elm)
    waits = queued(still, "b", device="cuda")
    assert "the team&#x27;s quota of 1 device is used up" in text_of(
        client, f"/runs/{waits.public_id}/"
    )
    assert (
        "whole number"
        in client.post("/team/quota/", {"devices": "-3"}, follow=True).content.decode()
    )
    client.post("/team/quota/", {"devices": ""})
    still.refresh_from_db()
    assert still.device_quota is None
