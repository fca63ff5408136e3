"""A browser's side of the live socket, spoken to the ASGI application directly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.test import Client

from webapp.asgi import application
from webapp.live import messages

HERE = b"http://localhost:8000"
# Bounded only so that a broken test ends.
SECONDS = 120


async def quiet() -> None:
    """The hub's own tasks, which end when the last socket has left, are over: they do not outlive
    the event loop of the test.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=SECONDS)
        assert not pending, f"still at work: {pending}"


class Socket(ApplicationCommunicator):
    """One connection with the cookies of `client`, from a page at `origin`. The server can be
    `room` frames ahead of what it has heard.

    Every frame that it hears is held against the definition of the messages.
    """

    def __init__(
        self, client: Client, origin: bytes | None = HERE, path: str = "/live/", room: int = 0
    ) -> None:
        cookie = "; ".join(
            f"{name}={morsel.value}" for name, morsel in client.cookies.items()
        ).encode()
        host = (b"host", HERE.removeprefix(b"http://"))
        headers = [host, (b"cookie", cookie), *([(b"origin", origin)] if origin else [])]
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": headers,
            "subprotocols": [],
        }
        super().__init__(application, scope)
        self._output_queue = asyncio.Queue(room)

    async def connect(self) -> bool:
        """Whether the server let us in."""
        await self.send_input({"type": "websocket.connect"})
        return bool((await self.receive_output(SECONDS))["type"] == "websocket.accept")

    async def say(self, **message: Any) -> None:
        await self.send_input({"type": "websocket.receive", "text": json.dumps(message)})

    async def say_raw(self, **frame: Any) -> None:
        """A frame with `text` or `bytes` as it is."""
        await self.send_input({"type": "websocket.receive", **frame})

    async def hear(self) -> dict[str, Any]:
        """The next frame. A closing is `{"type": "closed", "code": …}`."""
        output = await self.receive_output(SECONDS)
        if output["type"] == "websocket.close":
            return {"type": "closed", "code": output["code"]}
        assert len(output["text"].encode()) <= messages.LARGEST_FRAME
        messages.from_server.validate_json(output["text"])
        frame: dict[str, Any] = json.loads(output["text"])
        return frame

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(SECONDS)
