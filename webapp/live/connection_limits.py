"""Counts and limits of sockets and subscriptions, per session and per process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from webapp.base import process_metrics

# Each open tab of a person is a socket; a tab that nobody looks at closes its own after 30 s.
SOCKETS_OF_SESSION = 40
SOCKETS_OF_PROCESS = 2000
# Each subscription reads its run at every change, so that these bound the reads that one page, and
# one person, can cause.
SUBSCRIPTIONS_OF_SOCKET = 50
SUBSCRIPTIONS_OF_SESSION = 200


@dataclass
class ConnectionLimits:
    """Counts of one process. Each successful `enter` or `subscribe` must be undone later."""

    sockets: Counter[str] = field(default_factory=Counter)
    subscriptions: Counter[str] = field(default_factory=Counter)

    def enter(self, session: str) -> bool:
        """Count a socket; False if there are too many."""
        if (
            self.sockets.total() >= SOCKETS_OF_PROCESS
            or self.sockets[session] >= SOCKETS_OF_SESSION
        ):
            process_metrics.REFUSED_SOCKETS.inc()
            return False
        self.sockets[session] += 1
        process_metrics.SOCKETS.inc()
        return True

    def leave(self, session: str) -> None:
        process_metrics.SOCKETS.dec()
        _less(self.sockets, session)

    def subscribe(self, session: str, of_socket: int) -> str:
        """Count a subscription of a socket that has `of_socket`; return why not, or ""."""
        if of_socket >= SUBSCRIPTIONS_OF_SOCKET:
            return f"One page can follow {SUBSCRIPTIONS_OF_SOCKET} runs at once."
        if self.subscriptions[session] >= SUBSCRIPTIONS_OF_SESSION:
            return f"You follow {SUBSCRIPTIONS_OF_SESSION} runs already. Close some of the pages."
        self.subscriptions[session] += 1
        process_metrics.SUBSCRIPTIONS.inc()
        return ""

    def unsubscribe(self, session: str) -> None:
        process_metrics.SUBSCRIPTIONS.dec()
        _less(self.subscriptions, session)


def _less(counter: Counter[str], name: str) -> None:
    # A Counter keeps names whose count is 0: without this it grows with every session.
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
