"""Django's pages as an ASGI application that runs each request in one thread of a fixed pool.

Django's own handler gives every request a new thread, and so a new database connection, and
changes threads several times on the way; that costs ten times what a small query does. Here one of
`THREADS` renders the whole page and keeps its connection. Streamed responses use threads of their
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import IO, Any, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.db import connections
from django.http import FileResponse, HttpResponseBase
from django.urls import set_script_prefix

THREADS = ThreadPoolExecutor(16, thread_name_prefix="pages")
Scope = MutableMapping[str, Any]


class PagesHandler(ASGIHandler):
    """Django's handler with all middlewares and views in one thread. Views are plain functions."""

    # The __init__ of ASGIHandler, which is not called, loads the middlewares in their async form.
    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body):
            response = await asyncio.get_running_loop().run_in_executor(
                THREADS, self._respond, scope, body
            )
            if response.streaming:
                # The context gives the stream one thread of its own: a long download would occupy a
                # thread that renders pages.
                async with ThreadSensitiveContext():
                    await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)

    def _respond(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refusal = cast(tuple[Any, Any], self.create_request(scope, body))
        response: HttpResponseBase = self.get_response(request) if request is not None else refusal
        # Closing sends `request_finished`, whose receivers look after the database connections of
        # the thread that they are called in.
        if not response.streaming:
            response.close()
        elif isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        return response

    async def _stream(self, response: HttpResponseBase, receive: Any, send: Any) -> None:
        """Send a streamed response until it ends or the client disconnects.

        The thread and its database connection are closed with it.
        """
        sending = asyncio.create_task(self.send_response(response, send))
        disconnect = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait([sending, disconnect], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, disconnect):
                task.cancel()
            # Exceptions are returned, so that a failed stream is closed before its error is raised.
            outcomes = await asyncio.gather(sending, disconnect, return_exceptions=True)
            await sync_to_async(response.close)()
            await sync_to_async(connections.close_all)()
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
