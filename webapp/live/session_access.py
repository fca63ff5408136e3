"""Who is on the other side, asked again and again: one look at the database for all sockets of a
process, at most a second old.
"""

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
class Known:
    """The actor of a session, what their access hangs on, and how its sockets are told that it
    changed.
    """

    actor: Actor
    standing: Hashable
    sockets: list[Wake] = field(default_factory=list)


class SessionAccess:
    """`enter` and `leave` say which sessions have sockets; each is woken when what its person may
    do has changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._checked_at = 0.0
        self._check: asyncio.Task[None] | None = None

    async def enter(self, scope: Mapping[str, Any], wake: Wake) -> Actor:
        """The actor behind a new socket, read now."""
        session = session_of(scope)
        current = await self._read(session)
        state = self._known.setdefault(session, current)
        state.actor, state.standing = current.actor, current.standing
        state.sockets.append(wake)
        return current.actor

    def leave(self, scope: Mapping[str, Any], wake: Wake) -> None:
        state = self._known[session_of(scope)]
        state.sockets.remove(wake)
        if not state.sockets:
            del self._known[session_of(scope)]

    async def actor(self, scope: Mapping[str, Any]) -> Actor:
        """The actor as they were at most RECHECK_SECONDS ago."""
        await self.look()
        return self._known[session_of(scope)].actor

    async def look(self) -> None:
        """Know what is at most RECHECK_SECONDS old."""
        if (
            self._check is None
            and asyncio.get_running_loop().time() - self._checked_at >= RECHECK_SECONDS
        ):
            self._check = asyncio.create_task(self._check_all())
        if self._check is not None:
            await asyncio.shield(self._check)

    async def actor_now(self, scope: Mapping[str, Any]) -> Actor:
        """The actor as they are at this moment, for a new subscription: a link may just have been
        opened in another tab.
        """
        return await self._renew(session_of(scope))

    async def _check_all(self) -> None:
        try:
            started_at = asyncio.get_running_loop().time()
            access_states = await read(actors.access_states, list(self._known))
            for session, state in list(self._known.items()):
                if access_states.get(session) != state.standing:
                    await self._renew(session)
            self._checked_at = started_at
        finally:
            self._check = None

    async def _renew(self, session: str) -> Actor:
        """The actor as read now; whoever else has sockets in that session is woken if that is
        news.
        """
        current = await self._read(session)
        state = self._known.get(session, current)
        if state.standing != current.standing:
            for wake in state.sockets:
                wake()
        state.actor, state.standing = current.actor, current.standing
        return current.actor

    async def _read(self, session: str) -> Known:
        """The standing is read first: a change in between is found by the next look."""
        standings = await read(actors.access_states, [session])
        return Known(await read(actors.actor_of_key, session or None), standings.get(session))


def session_of(scope: Mapping[str, Any]) -> str:
    """The key of the session behind a socket; empty without one."""
    return scope["session"].session_key or ""
