"""The queue and the machines in a browser: the order by hand, pause and resume, draining a
machine.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.conftest import SPEC
from trainer.spec.jobs import JobSpec
from webapp.access.models import Team, User
from webapp.jobs import lifecycle as jobs
from webapp.nodes.allocation_keys import attempt_key
from webapp.nodes.models import Device, Node
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State


@pytest.fixture
def elm(transactional_db: None) -> Node:
    """A machine with one slot and four GPUs."""
    node = Node.objects.create(name="elm", address="", cpus=16, memory_bytes=2**37)
    Device.objects.create(node=node, kind="cpu", index=0)
    for index in range(4):
        Device.objects.create(node=node, kind="cuda", index=index, name="H200", memory_bytes=2**37)
    return node


def queued(team: Team, name: str, gpus: int = 8) -> Run:
    return lifecycle.create_run(
        team, None, {**SPEC, "name": name, "compute": {"device": "cuda", "processes": gpus}}
    )


def at_work(team: Team, node: Node, name: str = "at work") -> Run:
    run = queued(team, name, 2)
    leases.claim(run.pk, node.name)
    Device.objects.filter(node=node, kind="cuda", index__lt=2).update(
        allocated_to=attempt_key(run.public_id, 1), team=team
    )
    run.refresh_from_db()
    return run


def names(page: Page) -> list[str]:
    return [name.strip() for name in page.locator(".queue-table tbody th a").all_text_contents()]


def test_the_queue_is_reordered_by_buttons_and_by_keyboard(
    page: Page, still: Team, elm: Node
) -> None:
    for name in ("first", "second"):
        queued(still, name)
    page.route("**/js/queue.js", lambda route: [queued(still, "third"), route.continue_()], times=1)
    page.goto("/queue/")
    assert names(page) == ["first", "second"]
    expect(page.locator(".queue-table tbody tr")).to_have_count(
        3
    )  # also what came before the page could hear of it
    page.get_by_role("button", name="Move third up").click()
    expect(page.locator(".queue-table tbody th a").nth(1)).to_have_text("third")
    page.get_by_role("button", name="Move third first").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".queue-table tbody th a").first).to_have_text("third")
    page.get_by_label("Priority of second").select_option("high")
    expect(page.locator(".queue-table tbody th a").first).to_have_text("second")
    page.get_by_role("button", name="Hold first").click()
    expect(page.get_by_role("button", name="Release first")).to_be_visible()
    assert names(page) == ["second", "third", "first"]
    expect(page.get_by_role("button", name="Move first up")).to_be_disabled()
    queued(still, "fourth")
    expect(page.locator(".queue-table tbody tr")).to_have_count(4)
    page.get_by_label("Cancel second", exact=True).click()
    page.get_by_role("button", name="Yes, cancel second").click()
    expect(page.locator(".queue-table tbody tr")).to_have_count(3)


def test_a_run_is_paused_and_goes_back_to_the_queue(page: Page, still: Team, elm: Node) -> None:
    run = at_work(still, elm)
    page.goto(f"/runs/{run.public_id}/")
    expect(page.get_by_text("on elm, GPUs 0–1")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#run-head .badge.stopping")).to_be_visible()
    leases.finish(
        run.pk, 1, State.STOPPED, "Stopped on request; the last state is in a checkpoint."
    )
    expect(page.locator("#run-head .badge.paused")).to_be_visible()
    Device.objects.update(allocated_to="")
    Node.objects.update(draining=True)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("elm is being drained.")).to_be_visible()


def test_an_operator_drains_a_machine(page: Page, still: Team, alice: User, elm: Node) -> None:
    User.objects.filter(pk=alice.pk).update(is_operator=True)
    Node.objects.create(name="oak", address="", cpus=16, memory_bytes=2**37)
    run = at_work(still, elm)
    page.goto("/machines/")
    expect(page.get_by_role("row", name="GPUs 0–1 H200, 128.0 GiB each at work")).to_be_visible()
    expect(page.get_by_role("row", name="GPUs 2–3 H200, 128.0 GiB each free")).to_be_visible()
    page.get_by_label("Drain elm").click()
    page.get_by_role("button", name="Checkpoint and move them").click()
    expect(page.get_by_text("being drained", exact=True)).to_be_visible()
    run.refresh_from_db()
    assert (run.state, run.after_stop) == (State.STOPPING, State.QUEUED)
    page.get_by_role("button", name="Use elm again").click()
    expect(page.get_by_label("Drain elm")).to_be_visible()


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_the_pages_are_accessible_and_fit(
    open_page: Callable[..., Page],
    still: Team,
    alice: User,
    elm: Node,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    User.objects.filter(pk=alice.pk).update(is_operator=True)
    at_work(still, elm, "PACED on arithmetic, all families")
    for name, gpus in (("reverse KL", 4), ("forward KL first", 8)):
        queued(still, name, gpus)
    queued(Team.objects.create(name="Other", slug="other"), "secret", 2)
    page = open_page(alice, viewport, dark)
    job = jobs.create_job(still, alice, JobSpec(name="rates of all families"), 400, 2)
    for address, heading in (
        ("/queue/", "Queue and machines"),
        ("/machines/", "Queue and machines"),
        ("/jobs/", "Jobs"),
        (f"/jobs/{job.public_id}/", job.name),
    ):
        page.goto(address)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert axe_violations(page) == []
        assert not has_sideways_scroll(page)
