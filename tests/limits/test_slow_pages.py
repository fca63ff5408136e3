"""Pages that take long leave the others their threads, and end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from tests.limits.conftest import Server, cookies_of, started
from tests.webapp.library.test_mapping_page import fields_of, lines, mapping_page
from tests.webapp.pages.test_new_run import as_
from webapp.access.models import User
from webapp.base.turns import (
    MOST_OF_ONE,
    MOST_WAITING,
    SLOW_PAGES,
    SLOW_PAGES_OF_ONE,
    THREADS,
    NoTurn,
    Turns,
    give_up,
)

PREVIEWS = 16


@pytest.fixture
def own_store(child_environment: dict[str, str], tmp_path: Any) -> Iterator[Server]:
    """A server that uses the store of this test."""
    environment = {**child_environment, "STILLROOM_ARTIFACTS": str(tmp_path / "store")}
    yield from started(environment, tmp_path / "log")


def verifiers(server: Server) -> int:
    count = 0
    for child in server.process.children(recursive=True):
        try:
            count += any("judge_process" in part for part in child.cmdline())
        except psutil.NoSuchProcess:
            continue
    return count


@pytest.mark.django_db(transaction=True)
def test_many_previews_of_one_person_leave_the_site_to_others(
    own_store: Server, alice: User, bob: User
) -> None:
    rows = lines(*({"question": f"{i}+1?", "answer": f"\\boxed{{{i + 1}}}"} for i in range(20)))
    page = mapping_page(as_(alice), rows, "rows.jsonl")
    fields = {**fields_of(page), "data.verifier.kind": "math"}
    address = f"/data/new/preview/?{urlencode(fields)}"
    headers, of_others = cookies_of(alice, own_store), cookies_of(bob, own_store)
    most, ended, done = 0, threading.Event(), []

    def count() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, verifiers(own_store))

    def preview() -> int:
        status, _ = own_store.request("GET", address, None, headers)
        done.append(status)
        return status

    counter = threading.Thread(target=count)
    counter.start()
    with ThreadPoolExecutor(PREVIEWS) as pool:
        answers = [pool.submit(preview) for _ in range(PREVIEWS)]
        # The pages of others are answered while the previews are made.
        for _ in range(3):
            assert own_store.request("GET", "/", None, of_others)[0] == 200
        assert len(done) < PREVIEWS
        statuses = [answer.result() for answer in answers]
    ended.set()
    counter.join()
    assert set(statuses) <= {200, 503} and 200 in statuses
    assert statuses.count(503) >= PREVIEWS - MOST_OF_ONE
    assert most <= SLOW_PAGES_OF_ONE


async def test_turns_are_shared_and_given_back() -> None:
    turns, running, most = Turns(), 0, 0

    async def page(person: str) -> None:
        nonlocal running, most
        async with turns.turn(person):
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0)
            running -= 1

    persons = [page(f"person {number % 6}") for number in range(6 * MOST_OF_ONE)]
    await asyncio.gather(*persons)
    assert most == SLOW_PAGES

    results = await asyncio.gather(
        *(page("one person") for _ in range(MOST_OF_ONE + 3)), return_exceptions=True
    )
    assert sum(isinstance(result, NoTurn) for result in results) == 3
    await page("one person")


async def test_a_page_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.base.turns.LONGEST_WAIT", 0.05)
    turns = Turns()
    async with turns.turn("a"), turns.turn("a"):
        with pytest.raises(NoTurn, match="Try again in a moment"):
            async with turns.turn("a"):
                pass
        async with turns.turn("b"):
            pass
    async with turns.turn("a"):
        pass


async def test_a_page_that_only_waits_leaves_its_turn_to_others() -> None:
    turns, loop = Turns(), asyncio.get_running_loop()
    over = threading.Event()

    def wait() -> None:
        give_up()
        over.wait(60)

    async def page(person: str, work: Callable[[], None]) -> None:
        async with turns.turn(person) as turn:
            await loop.run_in_executor(THREADS, turn.execute, work)

    waiting = [asyncio.create_task(page(f"person {n // 4}", wait)) for n in range(MOST_WAITING)]
    # Those of the same person as well.
    for number in range(2 * SLOW_PAGES):
        await asyncio.wait_for(page(f"person {number % 4}", lambda: None), 60)
    assert not any(task.done() for task in waiting)
    over.set()
    await asyncio.gather(*waiting)
    # Each turn was given back once: no more of them than before.
    working, most = 0, 0

    def work() -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        time.sleep(0.01)
        working -= 1

    await asyncio.gather(*(page(f"person {n}", work) for n in range(3 * SLOW_PAGES)))
    assert most <= SLOW_PAGES
