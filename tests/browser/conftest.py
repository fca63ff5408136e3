"""A real browser and a real server: Chromium, and uvicorn with the test database and Redis.

A test fails if the browser reports an error, a blocked resource or a violation of the content
security policy.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.webapp.conftest import member
from webapp.access.models import Role, Team, User

# Generous, as a busy machine may be slow.
expect.set_options(timeout=30_000)

# Playwright keeps an event loop in this thread; Django would refuse database calls in it.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
START_SECONDS = 60
ALL_RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
SIZE_RULES = ["target-size", "scrollable-region-focusable", "label", "button-name", "link-name"]


@pytest.fixture(scope="session")
def site(
    child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a running server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "webapp.asgi:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=child_environment, stdout=output, stderr=output
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def still(transactional_db: None) -> Team:
    return Team.objects.create(name="Still", slug="still")


@pytest.fixture
def alice(still: Team) -> User:
    return member("alice@still.example", "Alice", still, Role.ADMIN)


@pytest.fixture
def bob(still: Team) -> User:
    return member("bob@still.example", "Bob", still, Role.VIEWER)


@pytest.fixture
def open_page(browser: Browser, site: str, transactional_db: None) -> Iterator[Callable[..., Page]]:
    """Open pages of `site` for a user: open_page(user, viewport, dark).

    The test fails if the browser reports a problem.
    """
    contexts: list[BrowserContext] = []
    browser_errors: list[str] = []

    def open_as(user: User | None = None, viewport: Any = WIDE, dark: bool = False) -> Page:
        context = browser.new_context(
            base_url=site,
            viewport=viewport,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        if user is not None:
            context.add_cookies(
                [{"name": settings.SESSION_COOKIE_NAME, "value": _session_of(user), "url": site}]
            )
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: _record_error(message, browser_errors))
        page.on("pageerror", lambda error: browser_errors.append(str(error)))
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert not browser_errors, "the browser reported:\n" + "\n".join(browser_errors)


@pytest.fixture
def page(open_page: Callable[..., Page], alice: User) -> Page:
    """A page on which Alice is signed in."""
    return open_page(alice)


@pytest.fixture
def axe_violations() -> Callable[[Page], list[str]]:
    """Return the violations that axe-core finds on a page, one line per rule and element.

    On a dark or narrow page it checks only the rules that colours or widths affect.
    """
    source = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()

    def run(page: Page) -> list[str]:
        page.evaluate(source)
        dark, narrow = page.evaluate(
            "[matchMedia('(prefers-color-scheme: dark)').matches, matchMedia('(max-width: "
            "600px)').matches]"
        )
        rules = [*(COLOUR_RULES if dark else ()), *(SIZE_RULES if narrow else ())]
        result = page.evaluate("only => axe.run(document, {runOnly: only})", rules or ALL_RULES)
        return [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]

    return run


def has_sideways_scroll(page: Page) -> bool:
    return bool(
        page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    )


def _record_error(message: ConsoleMessage, browser_errors: list[str]) -> None:
    """Record an error of the browser.

    Not recorded: a WebSocket refused after signing out, a request aborted by leaving its page, and
    the status of an upload that the server refuses in a sentence.
    """
    is_sign_out = "WebSocket handshake: Unexpected response code: 403" in message.text
    is_page_left = message.text.startswith(("htmx:sendAbort", "htmx:afterRequest"))
    is_refused_upload = "responded with a status of 422" in message.text
    is_expected = is_sign_out or is_page_left or is_refused_upload
    if message.type in ("error", "warning") and not is_expected:
        browser_errors.append(f"{message.type}: {message.text} ({message.location.get('url')})")


def _session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
