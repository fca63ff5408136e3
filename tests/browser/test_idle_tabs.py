"""Idle tabs send no requests, and a tab that was hidden or asleep catches up without gaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.runs import lifecycle

HIDE = """
(state) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


class Traffic:
    """The requests and WebSocket messages of a page."""

    def __init__(self, page: Page) -> None:
        self.messages: list[str] = []
        self.open_sockets = 0
        page.on("request", lambda request: self.messages.append(f"request {request.url}"))
        page.on("websocket", self._watch)

    def _watch(self, socket: WebSocket) -> None:
        self.open_sockets += 1
        socket.on("framesent", lambda text: self.messages.append(f"sent {str(text)[:80]}"))
        socket.on("framereceived", lambda text: self.messages.append(f"received {str(text)[:80]}"))
        socket.on("close", lambda _: self._closed())

    def _closed(self) -> None:
        self.open_sockets -= 1


@pytest.fixture
def traffic(page: Page) -> Traffic:
    page.clock.install()
    return Traffic(page)


def settle(page: Page, traffic: Traffic, ready: Callable[[], bool]) -> None:
    """Wait until `ready` and until no request is pending, then forget the traffic so far."""
    for _ in range(300):
        page.wait_for_timeout(100)
        if ready():
            break
    page.wait_for_load_state("networkidle")
    traffic.messages.clear()


def test_the_page_of_a_finished_run_sends_nothing(
    page: Page, traffic: Traffic, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    page.goto(f"/runs/{run.public_id}/")
    expect(page.locator("#chart-loss [data-count]")).to_have_text("60 points")
    settle(page, traffic, lambda: any("received" in message for message in traffic.messages))
    page.clock.run_for(120_000)
    page.wait_for_timeout(1500)
    assert (traffic.messages, traffic.open_sockets) == ([], 1)


def test_a_hidden_tab_disconnects_and_catches_up_when_shown(
    page: Page, traffic: Traffic, still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 10)
    page.goto(f"/runs/{recorder.run.public_id}/")
    expect(page.locator("#chart-loss [data-count]")).to_have_text("10 points")
    settle(page, traffic, lambda: any("received" in message for message in traffic.messages))
    page.evaluate(HIDE, "hidden")
    page.clock.run_for(31_000)
    expect(page.locator("[data-status]")).to_have_text("paused while hidden")
    settle(page, traffic, lambda: traffic.open_sockets == 0)
    recorder.train(11, 25)
    page.clock.run_for(120_000)
    page.wait_for_timeout(1500)
    assert (traffic.messages, traffic.open_sockets) == ([], 0)
    page.evaluate(HIDE, "visible")
    expect(page.locator("#chart-loss [data-count]")).to_have_text("25 points")


def test_a_page_catches_up_after_the_laptop_slept_for_an_hour(
    page: Page, traffic: Traffic, still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 10)
    page.goto(f"/runs/{recorder.run.public_id}/")
    expect(page.locator("#chart-loss [data-count]")).to_have_text("10 points")
    settle(page, traffic, lambda: any("received" in message for message in traffic.messages))
    page.clock.fast_forward(3_600_000)
    recorder.train(11, 30)
    expect(page.locator("#chart-loss [data-count]")).to_have_text("30 points")
    page.clock.run_for(10_000)
    expect(page.locator("[data-status]")).not_to_have_text("connecting…")
    assert any(message.startswith('sent {"type":"subscribe"') for message in traffic.messages)
