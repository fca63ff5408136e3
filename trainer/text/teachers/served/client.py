"""Scores of many texts from the servers of one teacher, the longest first, all at the same time.

A server that fails is left out, tried again after growing pauses and checked before it is used
again; its texts go to the others. While all servers are down the run waits, up to a limit. Nothing
that was scored is asked for again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from trainer.engine.outcome import Failure
from trainer.text.language.hidden_states import Row
from trainer.text.teachers.readings import Unread
from trainer.text.teachers.served.requests import Requests, TextRefused, Unreachable
from trainer.text.teachers.served.scores import Scores, SignalFault

if TYPE_CHECKING:
    import httpx2

# Seconds between two attempts at a server that is down.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# Seconds between two reports of progress, at which a run can be stopped.
PROGRESS_SECONDS = 0.5
SIGNAL_REMEDY = (
    "Nothing was learnt from these scores. Correct the server, or start another one, and resume "
    "the run."
)

# Scores a text (ids, index of the first scored token) at one server.
Ask = Callable[[Sequence[int], int], Awaitable[Scores]]


@dataclass(eq=False)
class Server:
    """One server of the teacher: since when it is not used, in seconds of the clock, and why.

    Without a failure it has still to be checked.
    """

    url: str
    down_since: float | None = 0.0
    failure: str = ""
    reviving: asyncio.Lock | None = None


@dataclass(eq=False)
class Text:
    """A row that is to be scored, its place among them, and how often that has failed."""

    index: int
    ids: tuple[int, ...]
    start: int
    failures: int = 0


@dataclass
class ServedClient:
    """The servers of a teacher; `check` proves the scores of one before it is used again.

    `log(level, sentence)` and `progress(done, of)` are the run's; the latter may raise to stop it.
    `pause` and `clock` wait and tell the time, in seconds.
    """

    name: str
    requests: Requests
    check: Callable[[str, Ask], Awaitable[None]]
    log: Callable[[str, str], None]
    progress: Callable[[int, int], None]
    pause: Callable[[float], Awaitable[Any]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    servers: list[Server] = field(init=False)

    def __post_init__(self) -> None:
        self.servers = [Server(url) for url in self.requests.teacher.urls]

    def score(self, rows: Sequence[Row]) -> list[Scores | Unread]:
        """Return the scores of each row's completion, in order, or why there are none.

        Raises Failure for scores that cannot be right, for servers that do not answer in time, and
        where too many rows get no scores; RunRefused where retrying is useless.
        """
        texts = [
            Text(index, (*prompt, *completion), len(prompt))
            for index, (prompt, completion) in enumerate(rows)
        ]
        texts.sort(key=lambda text: -len(text.ids))
        begin = self.clock()
        scores = asyncio.run(_Session(self, texts).run())
        self.requests.traffic.waited += self.clock() - begin
        return scores

    def check_again(self) -> None:
        """Check the servers before they are used again. Raises what `score` raises."""
        for server in self.servers:
            server.down_since, server.failure = self.clock(), ""
        self.score([])

    def failed(self, url: str, fault: SignalFault) -> NoReturn:
        raise Failure(f"The {self.name} at {url} {fault}.", SIGNAL_REMEDY) from None


class _Session:
    """The requests of one call of `score`; without texts the servers are only checked."""

    def __init__(self, client: ServedClient, texts: Sequence[Text]) -> None:
        self.client, self.requests = client, client.requests
        self.queue, self.count = deque(texts), len(texts)
        self.results: dict[int, Scores | Unread] = {}
        self.waits_since: float | None = None

    async def run(self) -> list[Scores | Unread]:
        import httpx2

        for server in self.client.servers:
            server.reviving = asyncio.Lock()
        async with httpx2.AsyncClient(
            headers=self.requests.headers,
            timeout=None,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=None),
        ) as http:
            tasks = [
                asyncio.create_task(self._work(http, server))
                for server in self.client.servers
                for _ in range(min(self.requests.teacher.at_once, max(self.count, 1)))
            ]
            try:
                await self._wait(tasks)
            finally:
                # After a failure the other requests must end before the client is closed.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [self.results[index] for index in range(self.count)]

    async def _wait(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until all is scored. Raises what the first failing task raises."""
        pending = set(tasks)
        while not self._done():
            done, pending = await asyncio.wait(
                pending, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            self._note_outage()
            self.client.progress(len(self.results), self.count)

    def _done(self) -> bool:
        if self.count:
            return len(self.results) == self.count
        # A check tries every server once, and waits for one of them.
        servers = self.client.servers
        return any(server.down_since is None for server in servers) and all(
            server.down_since is None or server.failure for server in servers
        )

    async def _work(self, http: httpx2.AsyncClient, server: Server) -> None:
        while True:
            if server.down_since is not None:
                await self._revive(http, server)
            if not self.queue:
                if len(self.results) == self.count:
                    return
                # Another server may fail and give its texts back.
                await asyncio.sleep(0.02)
                continue
            text = self.queue.popleft()
            try:
                self.results[text.index] = await self._ask(http, server)(text.ids, text.start)
            except TextRefused as refusal:
                self._set_aside(text, str(refusal))
            except SignalFault as fault:
                self.client.failed(server.url, fault)
            except Unreachable as error:
                self._failed(server, text, str(error))

    def _ask(self, http: httpx2.AsyncClient, server: Server) -> Ask:
        return lambda ids, start: self.requests.score(http, server.url, ids, start)

    def _failed(self, server: Server, text: Text, failure: str) -> None:
        self.requests.traffic.failures += 1
        text.failures += 1
        server.failure = failure
        if server.down_since is None:
            server.down_since = self.client.clock()
        # A text at which a server breaks down concerns itself alone.
        if text.failures > self.requests.teacher.retries:
            self._set_aside(text, f"the server {failure}; it was asked {text.failures} times")
        else:
            self.queue.appendleft(text)

    def _set_aside(self, text: Text, reason: str) -> None:
        self.results[text.index] = Unread(reason)
        self.requests.traffic.unread += 1
        count = sum(isinstance(result, Unread) for result in self.results.values())
        most = self.requests.teacher.most_unscored
        if count > most * self.count:
            raise Failure(
                f"The {self.client.name} has not scored {count} of {self.count} answers of a step, "
                f"more than {self.requests.setting}.most_unscored allows. The last one: {reason}.",
                "Correct the cause and resume the run, or raise the limit.",
            )

    async def _revive(self, http: httpx2.AsyncClient, server: Server) -> None:
        """Wait until the server answers again and its scores are proven."""
        assert server.reviving is not None
        async with server.reviving:
            pause = FIRST_PAUSE
            while server.down_since is not None:
                try:
                    await self.requests.require_model(http, server.url)
                    await self.client.check(server.url, self._ask(http, server))
                except (Unreachable, TextRefused) as error:
                    server.failure = str(error)
                except SignalFault as fault:
                    self.client.failed(server.url, fault)
                else:
                    server.down_since, server.failure = None, ""
                    return
                # Half of it is random: runs that failed together do not return together.
                await self.client.pause(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _note_outage(self) -> None:
        """Log that all servers are down, and that one is back; raise Failure after too long."""
        client, now = self.client, self.client.clock()
        if any(server.down_since is None for server in client.servers):
            if self.waits_since is not None:
                waited = now - self.waits_since
                client.log("info", f"The {client.name} answers again after {waited:.0f} s.")
            self.waits_since = None
            return
        server = next((server for server in client.servers if server.failure), None)
        if server is None:
            return
        if self.waits_since is None:
            self.waits_since = now
            client.log("warning", f"Waiting for the {client.name}: {server.url} {server.failure}.")
        if now - self.waits_since > self.requests.teacher.longest_wait:
            raise Failure(
                f"The {client.name} has not answered for {now - self.waits_since:.0f} s: "
                f"{server.url} {server.failure}.",
                "Start the server again and resume the run; it continues at its last checkpoint.",
            )
