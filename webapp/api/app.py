"""The client APIs of Trackio and MLflow as an ASGI application beside Django's pages.

It is outside Django's middleware on purpose: it has no sessions and no cookies, so nothing that a
browser sends by itself gives access, and a request is cheap. Every route is in `ROUTES`, with what
its token must allow.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404
from pydantic import ValidationError

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.access.api_tokens import TokenCache
from webapp.access.digests import digest
from webapp.access.permissions import Action
from webapp.api import backlog, mlflow, trackio
from webapp.api.rate_limit import LogRateLimit
from webapp.api.requests import (
    ApiError,
    FileAnswer,
    FileRoute,
    LogAnswer,
    LogRoute,
    ReadRoute,
    Request,
    Route,
    Upload,
    body_of,
    token_of,
)
from webapp.api.token_throttle import TokenThrottle
from webapp.base import request_body, statement_limit
from webapp.base.asgi_types import Receive, Send
from webapp.base.own_origin import is_own_host
from webapp.base.request_body import BodyError, ClientGone, announced_length, chunks
from webapp.clients import run_files, writer
from webapp.clients.client_batch import ClientBatch
from webapp.clients.describe import Unfit
from webapp.clients.run_files import FileRefused
from webapp.library import artifacts
from webapp.runs.models import Run

log = logging.getLogger(__name__)
PREFIXES = ("/version", "/api/")
# A body is held in memory up to this size, and its values take up to sixty times as much. Longer
# ones are refused, except those that Trackio's client sends as its backlog: these go to a file
# first. Routes that only query take what names a few things.
MAX_BODY = 4 * 2**20
MAX_QUERY_BODY = 2**20
TOO_LONG = "one request may have here. Send less at once."
# Shorter bodies with fewer values are parsed in the event loop; others would delay all requests
# there.
PARSED_AT_ONCE = 2**18
VALUES_AT_ONCE = 10_000
# Values of a body that is parsed at once in a thread: that takes Python's lock for a tenth of a
# second.
MOST_VALUES = 100_000
# Less than Trackio's client waits: 60 s for an answer, 30 s in all when a run ends (trackio 0.43).
PATIENCE_SECONDS = 20.0
# Each waiting request keeps its body, shorter than PARSED_AT_ONCE: together at most 50 MiB.
MOST_PATIENT = 200
# Long backlogs that are read or stored at a time; each may take its length of the disk.
MOST_BACKLOGS = 2
BACKLOG_THREADS = ThreadPoolExecutor(MOST_BACKLOGS, thread_name_prefix="backlogs")
# Files of one team that are received at a time; each takes its length of the disk twice until it
# is stored. Other teams do not wait for a team that sends slowly.
MOST_UPLOADS = 8
# Of a longer file even the rest is not read before it is refused.
LONGEST_UPLOAD = 2**40
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UPLOAD_THREADS = ThreadPoolExecutor(2, thread_name_prefix="uploads")
THREADS = ThreadPoolExecutor(4, thread_name_prefix="programs")
# Long bodies are parsed one after another: that takes Python's lock for up to a second each, and
# pages would get a small share of it beside several.
LONG_BODIES = ThreadPoolExecutor(1, thread_name_prefix="long-bodies")
ROUTES: dict[tuple[str, str], Route] = {**trackio.ROUTES, **mlflow.ROUTES}
T = TypeVar("T")


class ApiApplication:
    """The ASGI application for the addresses below PREFIXES."""

    def __init__(self) -> None:
        self._token_cache = TokenCache()
        self._token_throttle = TokenThrottle()
        self._rate_limit = LogRateLimit(settings.STILLROOM_LOG_RATE)
        self._waiting = self._backlogs = 0
        self._uploads: Counter[int] = Counter()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        status = 200
        headers: list[tuple[bytes, bytes]] = []
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Exception as problem:
            refusal = _refusal(problem)
            status, text = refusal.status, str(refusal)
            # MLflow's clients read `error_code` and `message`, Trackio's read `error`.
            answer = {"error_code": refusal.code, "message": text, "error": text}
            if refusal.retry_after is not None:
                headers.append((b"retry-after", str(refusal.retry_after).encode()))
            if status == 401:
                headers.append((b"www-authenticate", b"Bearer"))
            # The body may not have been read.
            headers += request_body.headers_after_unread(scope)
        if isinstance(answer, FileAnswer):
            await _send_file(send, answer)
        else:
            await _send(send, status, answer, headers)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Any:
        """Decide by the head whether the request is answered, and only then read its body."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        route, path_params = _route(scope["method"], scope["path"])
        actor = await self._patiently(scope, deadline, self._let_in, scope, route.action)
        if route.action is None:
            return await _threaded(route.work, Request(actor, {}, b""))
        if (announced_length(scope) or 0) > MAX_BODY and scope["path"] in trackio.BACKLOGS:
            return await self._backlog(actor, scope, receive)
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if isinstance(route, FileRoute):
            request = Request(actor, dict(pairs) | path_params, b"", pairs)
            return await self._upload(route, request, scope, receive)
        limit = MAX_BODY if isinstance(route, LogRoute) else MAX_QUERY_BODY
        request_body.require_length(scope, limit, TOO_LONG)
        body = b"".join([chunk async for chunk in chunks(receive, limit, TOO_LONG)])
        # The path's values come last, so that no query parameter of the same name replaces them.
        request = Request(actor, dict(pairs) | path_params, body, pairs)
        if values_in(body) > MOST_VALUES:
            if scope["path"] not in trackio.BACKLOGS:
                raise ApiError(
                    413,
                    "INVALID_PARAMETER_VALUE",
                    f"This has more than {MOST_VALUES:,} values. Send fewer at once.",
                )
            await _take_backlog(BytesIO(body), scope["path"], actor)
            return trackio.DONE
        return await self._patiently(scope, deadline, self._work, route, request)

    async def _patiently(
        self,
        scope: MutableMapping[str, Any],
        deadline: float,
        work: Callable[..., Awaitable[T]],
        *args: Any,
    ) -> T:
        """Do `work`; it is repeated if the client would never retry a temporary error."""
        length = announced_length(scope)
        is_patient = (
            scope["path"].startswith(trackio.PREFIX)
            and length is not None
            and length < PARSED_AT_ONCE
        )
        while True:
            try:
                return await work(*args)
            except Exception as problem:
                pause = _refusal(problem).retry_after if is_patient else None
                if (
                    pause is None
                    or self._waiting >= MOST_PATIENT
                    or time.monotonic() + pause > deadline
                ):
                    raise
            # Only the event loop changes the number of waiting requests, so it needs no lock.
            self._waiting += 1
            try:
                await asyncio.sleep(pause)
            finally:
                self._waiting -= 1

    async def _work(self, route: ReadRoute | LogRoute, request: Request) -> Any:
        if isinstance(route, ReadRoute):
            return await _threaded(route.work, request)
        is_short = len(request.body) < PARSED_AT_ONCE and values_in(request.body) < VALUES_AT_ONCE
        log_answer = (
            route.work(request)
            if is_short
            else await asyncio.get_running_loop().run_in_executor(LONG_BODIES, route.work, request)
        )
        return await self._take(log_answer, request)

    async def _upload(
        self, route: FileRoute, request: Request, scope: MutableMapping[str, Any], receive: Receive
    ) -> Any:
        """Receive a file on the disk, and do the work of its route."""
        assert request.actor.team is not None
        team = request.actor.team.pk
        if self._uploads[team] >= MOST_UPLOADS:
            raise ApiError(
                503,
                "TEMPORARILY_UNAVAILABLE",
                f"{MOST_UPLOADS} other files of this team are being received. Send this again in "
                "a moment.",
                5,
            )
        self._uploads[team] += 1
        try:
            limit, size = route.limit(), 0
            with TemporaryFile(dir=settings.UPLOADS) as file:
                async for chunk in chunks(receive, LONGEST_UPLOAD, TOO_LONG):
                    size += len(chunk)
                    if size <= limit:
                        file.write(chunk)
                file.seek(0)
                content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
                upload = Upload(file, size, size <= limit, content_type)
                return await _threaded(route.work, request, upload, pool=UPLOAD_THREADS)
        except OSError as problem:
            if problem.errno not in FULL_DISK:
                raise
            raise ApiError(
                507,
                "INTERNAL_ERROR",
                f"The server cannot store the file: {problem.strerror}. Tell whoever runs it.",
            ) from None
        finally:
            self._uploads[team] -= 1

    async def _backlog(
        self, actor: Actor, scope: MutableMapping[str, Any], receive: Receive
    ) -> Any:
        """Store a body that is too long for memory. The team's rate limit does not apply."""
        request_body.require_length(scope, backlog.MOST_BYTES, TOO_LONG)
        # The same client may have reconnected before it was answered, so their number is limited.
        if self._backlogs >= MOST_BACKLOGS:
            raise ApiError(
                503,
                "TEMPORARILY_UNAVAILABLE",
                "Other long backlogs are being taken in. Send this again in a minute; nothing "
                "counts twice.",
                backlog.RETRY_SECONDS,
            )
        self._backlogs += 1
        try:
            # Beside the uploads, not in /tmp, which is often small and in memory.
            with TemporaryFile(dir=settings.UPLOADS) as file:
                async for chunk in chunks(receive, backlog.MOST_BYTES, TOO_LONG):
                    file.write(chunk)
                file.seek(0)
                await _take_backlog(file, scope["path"], actor)
        finally:
            self._backlogs -= 1
        return trackio.DONE

    async def _let_in(self, scope: MutableMapping[str, Any], action: Action | None) -> Actor:
        """Return the actor, if the token may do `action`. Raises ApiError or PermissionDenied."""
        headers = dict(scope["headers"])
        # Django checks the host in its middleware, which these requests do not pass.
        if not is_own_host(headers.get(b"host", b"")):
            raise ApiError(
                400,
                "BAD_REQUEST",
                "This server is not known under the name that the request has in its Host header.",
            )
        if action is None:
            return Actor()
        actor = await self._actor(headers, (scope.get("client") or ("",))[0])
        permissions.require(actor, action, actor.team)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise ApiError(
                415,
                "INVALID_PARAMETER_VALUE",
                "The body is compressed. Send it uncompressed.",
            )
        return actor

    async def _actor(self, headers: dict[bytes, bytes], address: str) -> Actor:
        token = token_of(headers)
        if token is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "This needs an API token of a team; create one on the team's page.",
            )
        actor = self._token_cache.cached(token) or await self._look_up(token, address)
        if actor is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "This API token is unknown or revoked. Create another on the team's page.",
            )
        return actor

    async def _look_up(self, token: str, address: str) -> Actor | None:
        # The throttle remembers tokens for minutes, so it gets digests and no usable secret.
        token_digest = digest(token)
        wait = self._token_throttle.wait(address, token_digest)
        if wait:
            raise ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "Too many wrong API tokens came from this address. Try again in a quarter of "
                "an hour, or with a token that has worked.",
                wait,
            )
        actor = await _threaded(self._token_cache.find, token)
        self._token_throttle.note(address, token_digest, right=actor is not None)
        return actor

    async def _take(self, log_answer: LogAnswer, request: Request) -> Any:
        """Answer only after everything is committed."""
        assert request.actor.team is not None
        size = sum(batch.size for batch in log_answer.batches)
        wait = self._rate_limit.wait(request.actor.team.pk, size)
        if wait:
            raise ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                f"This team logs more than {self._rate_limit.rate:,} values a second. Send this "
                f"again in a moment; nothing counts twice.",
                wait,
            )
        if log_answer.batches:
            await asyncio.wrap_future(writer.submit(log_answer.batches))
            # Files come after the values, because these create the run. A client that is not
            # answered sends both again, and both count once.
            if any(batch.files for batch in log_answer.batches):
                await _threaded(_keep_files, log_answer.batches, pool=UPLOAD_THREADS)
        return log_answer.answer


async def _take_backlog(file: IO[bytes], path: str, actor: Actor) -> None:
    understand = partial(trackio.BACKLOGS[path], Request(actor, {}, b""))
    await asyncio.get_running_loop().run_in_executor(
        BACKLOG_THREADS, backlog.take, file, understand, _store
    )


def _store(batches: Sequence[ClientBatch]) -> None:
    writer.submit(batches).result()
    _keep_files(batches)


def _keep_files(batches: Sequence[ClientBatch]) -> None:
    lines = list(run_files.keep(batches))
    if lines:
        writer.submit(lines).result()


def values_in(body: bytes) -> int:
    """Return about how many values a body of JSON has, without parsing it."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


async def _threaded(work: Callable[..., T], *args: Any, pool: ThreadPoolExecutor = THREADS) -> T:
    """Run a query in a thread with a persistent connection, closed if Postgres broke it."""

    def run() -> T:
        try:
            return work(*args)
        except (OperationalError, InterfaceError):
            # A broken connection stays broken; after `close`, Django opens another one.
            connection.close()
            raise

    return await asyncio.get_running_loop().run_in_executor(pool, run)


def _route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of a request, and the values of the placeholders in its path. Raises ApiError."""
    known_path, path_params = mlflow.known_path(path)
    route = ROUTES.get((method, known_path))
    if route is not None:
        return route, path_params
    # The sentences name the path of the request, not that of the route with its placeholders.
    if any(known_path == other for _, other in ROUTES):
        raise ApiError(405, "BAD_REQUEST", f"{path} does not accept {method}.")
    raise ApiError(404, "ENDPOINT_NOT_FOUND", f"There is no route {path}.")


def _refusal(problem: Exception) -> ApiError:
    """Turn every failure into the error answer of the API."""
    match problem:
        case ApiError():
            return problem
        case BodyError():
            return ApiError(problem.status, "INVALID_PARAMETER_VALUE", str(problem))
        case ValidationError():
            first = problem.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"{where}: {first['msg']}" if where else first["msg"],
            )
        case Unfit() | FileRefused():
            return ApiError(400, "INVALID_PARAMETER_VALUE", str(problem))
        case Http404() | Run.DoesNotExist():
            return ApiError(
                404,
                "RESOURCE_DOES_NOT_EXIST",
                "There is no such run or experiment in the team of this token.",
            )
        case PermissionDenied():
            return ApiError(
                403,
                "PERMISSION_DENIED",
                "This token may only read. Make one that may log on the team's page.",
            )
        case writer.Full():
            return ApiError(429, "REQUEST_LIMIT_EXCEEDED", str(problem), 1)
        case writer.Away():
            return ApiError(503, "TEMPORARILY_UNAVAILABLE", str(problem), problem.retry_after)
        case OperationalError() | InterfaceError():
            return _outage(problem)
        case _:
            log.error("A request of a program failed.", exc_info=problem)
            return ApiError(
                500,
                "INTERNAL_ERROR",
                "Something went wrong on the server; its log says what. Nothing of this was "
                "recorded.",
            )


def _outage(problem: Exception) -> ApiError:
    if statement_limit.is_reached(problem):
        return ApiError(503, "TEMPORARILY_UNAVAILABLE", statement_limit.SENTENCE, 10)
    return _refusal(writer.Away(2))


async def _send(send: Send, status: int, answer: Any, headers: list[tuple[bytes, bytes]]) -> None:
    body = body_of(answer)
    fixed = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _send_file(send: Send, answer: FileAnswer) -> None:
    """Send a file for a program to save; a browser must not show what a client has logged."""
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b"attachment"),
        (b"content-length", str(answer.size).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    loop = asyncio.get_running_loop()
    with answer.file as file:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while chunk := await loop.run_in_executor(THREADS, file.read, artifacts.CHUNK_BYTES):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
