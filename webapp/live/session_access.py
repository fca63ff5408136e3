"""Who is behind each socket, checked with one query for all sockets, at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webapp.access import actors
from webapp.access.actors import Actor
from webapp.live.reader_threads import read

RECHECK_SECONDS = 1.0
Wake = Callable[[], None]


@dataclass
class SessionState:
    """The actor of a session, the state their access depends on, and how to wake its sockets."""

    actor: Actor
    access_state: Hashable
    sockets: list[Wake] = field(default_factory=list)


class SessionAccess:
    """Knows the sessions that have sockets; wakes these when the access of the person changes."""

    def __init__(self) -> None:
        # All of these are used on the event loop only, so that they need no lock.
        self._known: dict[str, SessionState] = {}
        self._checked_at = 0.0
        self._check: asyncio.Task[None] | None = None

    async def enter(self, scope: Mapping[str, Any], wake: Wake) -> Actor:
        """Register a new socket; return its actor, read now."""
        session = session_of(scope)
        current = await self._read(session)
        state = self._known.setdefault(session, current)
        state.actor, state.access_state = current.actor, current.access_state
        state.sockets.append(wake)
        return current.actor

    def leave(self, scope: Mapping[str, Any], wake: Wake) -> None:
        state = self._known[session_of(scope)]
        state.sockets.remove(wake)
        if not state.sockets:
            del self._known[session_of(scope)]

    async def actor(self, scope: Mapping[str, Any]) -> Actor:
        """Return the actor as read at most RECHECK_SECONDS ago."""
        await self.recheck()
        return self._known[session_of(scope)].actor

    async def recheck(self) -> None:
        """Check the access of all sessions, unless that was done in the last RECHECK_SECONDS."""
        if (
            self._check is None
            and asyncio.get_running_loop().time() - self._checked_at >= RECHECK_SECONDS
        ):
            self._check = asyncio.create_task(self._check_all())
        # Sockets that ask during a check wait for it; one that leaves must not cancel it.
        if self._check is not None:
            await asyncio.shield(self._check)

    async def actor_now(self, scope: Mapping[str, Any]) -> Actor:
        """Return the actor as read now, for a new subscription.

        A share link may just have been opened in another tab.
        """
        return await self._renew(session_of(scope))

    async def _check_all(self) -> None:
        try:
            started_at = asyncio.get_running_loop().time()
            # The time before the query: a change after it is found by the next check.
            access_states = await read(actors.access_states, list(self._known))
            for session, state in list(self._known.items()):
                if access_states.get(session) != state.access_state:
                    await self._renew(session)
            self._checked_at = started_at
        finally:
            self._check = None

    async def _renew(self, session: str) -> Actor:
        """Read the actor again; wake the sockets of the session if their access changed."""
        current = await self._read(session)
        # The last socket of the session may have left during the read.
        state = self._known.get(session, current)
        if state.access_state != current.access_state:
            for wake in state.sockets:
                wake()
        state.actor, state.access_state = current.actor, current.access_state
        return current.actor

    async def _read(self, session: str) -> SessionState:
        """Read the access state first: a change after that is found by the next check."""
        access_states = await read(actors.access_states, [session])
        return SessionState(
            await read(actors.actor_of_key, session or None), access_states.get(session)
        )


def session_of(scope: Mapping[str, Any]) -> str:
    """The key of the session behind a socket; empty without one."""
    return scope["session"].session_key or ""
