"""Django's pages as an ASGI application that runs each request in one thread of a fixed pool.

Django's own handler gives every request a new thread, and so a new database connection, and
changes threads several times on the way; that costs ten times what a small query does. Here one of
`THREADS` renders the whole page and keeps its connection. Slow pages and streamed responses use
threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from typing import IO, Any, NamedTuple, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.db import connections
from django.http import FileResponse, HttpResponseBase
from django.http.cookie import parse_cookie
from django.urls import Resolver404, resolve, set_script_prefix

from webapp.base import request_body, turns
from webapp.base.asgi_types import Receive, Scope, send_text
from webapp.base.request_body import BodyError, ClientGone
from webapp.base.spooled_body import SpooledBody
from webapp.base.turns import NoTurn, Turns

THREADS = ThreadPoolExecutor(16, thread_name_prefix="pages")
FRAMING = (b"content-length", b"transfer-encoding")
View = Callable[..., Any]


class BodyLimit(NamedTuple):
    """Bytes of a body, and why: the end of the sentence "This is more than the 4 MiB that …"."""

    bytes: int
    reason: str


class PagesHandler(ASGIHandler):
    """Django's handler with all middlewares and views in one thread. Views are plain functions.

    `body_limit` decides how long the body of a request to a view may be, by its head. A body over
    the limit is not read, and one that grows over it is no longer.
    """

    # The __init__ of ASGIHandler, which is not called, loads the middlewares in their async form.
    def __init__(self, body_limit: Callable[[Scope, View | None], BodyLimit]) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self.body_limit = body_limit
        self.turns = Turns()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        view = _view_at(scope)
        try:
            body = await self._body(scope, receive, view)
        except ClientGone:
            return
        except BodyError as problem:
            headers = request_body.headers_after_unread(scope)
            await send_text(send, problem.status, str(problem), (*headers,))
            return
        with closing(body or BytesIO()) as stream:
            try:
                response = await self._response(scope, stream, view)
            except NoTurn as problem:
                # htmx shows no text of an error; what it asked for stays empty.
                status = 200 if b"hx-request" in dict(scope["headers"]) else 503
                await send_text(send, status, str(problem), ((b"retry-after", b"5"),))
                return
            if body is None and request_body.headers_after_unread(scope):
                response["Connection"] = "close"
            if response.streaming:
                # The context gives the stream one thread of its own: a long download would occupy a
                # thread that renders pages.
                async with ThreadSensitiveContext():
                    await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Raise RequestAborted once the client disconnects; a body that was not read is ignored."""
        while (await receive())["type"] != "http.disconnect":
            pass
        raise RequestAborted

    async def _body(self, scope: Scope, receive: Receive, view: View | None) -> IO[bytes] | None:
        """Return the body as a stream; None if it is empty or the answer does not depend on it.

        Raises BodyError and ClientGone.
        """
        if request_body.announced_length(scope) == 0:
            return None
        limit = await asyncio.get_running_loop().run_in_executor(
            THREADS, self.body_limit, scope, view
        )
        if limit.bytes == 0:
            return None
        request_body.require_length(scope, *limit)
        length = request_body.announced_length(scope)
        body = SpooledBody(limit.bytes if length is None else length)
        try:
            async for chunk in request_body.chunks(receive, *limit):
                body.append(chunk)
        except BaseException:
            body.close()
            raise
        # Django's own limits look at the announced length, which a body in chunks does not have.
        scope["headers"] = [
            *((name, value) for name, value in scope["headers"] if name not in FRAMING),
            (b"content-length", str(body.size).encode()),
        ]
        return body.reader()

    async def _response(self, scope: Scope, body: IO[bytes], view: View | None) -> HttpResponseBase:
        """Run the view in a thread. Raises NoTurn."""
        loop = asyncio.get_running_loop()
        if not getattr(view, "is_slow", False):
            return await loop.run_in_executor(THREADS, self._respond, scope, body)
        async with self.turns.turn(_session_key(scope)) as turn:
            return await loop.run_in_executor(
                turns.THREADS, turn.execute, self._respond, scope, body
            )

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


def _view_at(scope: Scope) -> View | None:
    try:
        return resolve(scope["path"]).func
    except Resolver404:
        return None


def _session_key(scope: Scope) -> str:
    cookies = parse_cookie(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
    return cookies.get(settings.SESSION_COOKIE_NAME, "")
