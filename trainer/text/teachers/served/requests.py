"""One request to one server of a teacher: sent, read within limits, and its errors told apart.

An error concerns the run (a wrong key or address), the server (it is down, slow or overloaded: the
text is asked for again), or the text alone (it is too long: nothing is learnt from it).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.engine.outcome import RunRefused
from trainer.spec import HiddenStates, ServedTeacher, TopLogprobs
from trainer.text.teachers.endpoint import EXCERPT, PROMPT_STATUSES, RETRYABLE_STATUSES
from trainer.text.teachers.served import sglang, vllm
from trainer.text.teachers.served.scores import Scores, SignalFault

if TYPE_CHECKING:
    import httpx2

PROGRAMS = {"vllm": vllm, "sglang": sglang}
# Bytes of a reply: hidden states of a long text have some hundred megabytes.
LONGEST_REPLY = 2**30
# What reading an invalid reply raises.
INVALID = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


class Unreachable(Exception):
    """The server does not answer as it should; it may do so later."""


class TextRefused(Exception):
    """The server refuses this text, and works otherwise."""


@dataclass
class Traffic:
    """What a teacher's requests have cost: bytes both ways, scored tokens, failures, seconds."""

    bytes: int = 0
    tokens: int = 0
    failures: int = 0
    unread: int = 0
    waited: float = 0.0


@dataclass(frozen=True)
class Requests:
    """Requests of a teacher; `vocabulary` counts its ids, `width` is that of hidden states.

    `setting` is its path in the definition, which messages name.
    """

    teacher: ServedTeacher
    setting: str
    key: str
    vocabulary: int
    width: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def k(self) -> int:
        """The number of likeliest ids that are asked for."""
        return self.teacher.gives.k if isinstance(self.teacher.gives, TopLogprobs) else 0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    async def score(
        self, http: httpx2.AsyncClient, url: str, ids: Sequence[int], start: int
    ) -> Scores:
        """Return the scores of ids[start:], start ≥ 1, by the server at `url`.

        Raises Unreachable, TextRefused, SignalFault, and RunRefused where retrying is useless.
        """
        program = PROGRAMS[self.teacher.program]
        hidden = isinstance(self.teacher.gives, HiddenStates)
        request = f"{vllm.HIDDEN}{uuid.uuid4().hex}" if hidden else ""
        reply = await self._post(
            http, url + program.ROUTE, program.body(self.teacher.model, ids, start, self.k, request)
        )
        try:
            scores = program.parse(reply, ids, start, self.k, self.vocabulary)
            if hidden:
                answer = await self._post(
                    http, url + vllm.HIDDEN_ROUTE, vllm.hidden_body(request, start, len(ids))
                )
                states = vllm.parse_hidden(answer, len(ids) - start, self.width)
                scores = Scores(scores.written, hidden=states, texts=scores.texts)
        except SignalFault:
            raise
        except INVALID:
            raise Unreachable("answers with something that has no scores") from None
        self.traffic.tokens += len(ids) - start
        return scores

    async def require_model(self, http: httpx2.AsyncClient, url: str) -> None:
        """Raise RunRefused if the server does not list the teacher's model, or Unreachable."""
        reply = await self._request(http, "GET", f"{url}/v1/models", None)
        try:
            names = [str(model["id"]) for model in json.loads(reply)["data"]]
        except INVALID:
            raise Unreachable(
                "answers with something that is no list of models; is the URL that of the server?"
            ) from None
        if self.teacher.model not in names:
            raise RunRefused(
                f"The server at {url} has no model “{self.teacher.model}”; it has "
                f"{', '.join(f'“{name}”' for name in names[:5]) or 'none'}.",
                f"Correct {self.setting}.model, or start the server with that model.",
            )

    async def _post(self, http: httpx2.AsyncClient, url: str, body: dict[str, Any]) -> Any:
        reply = await self._request(http, "POST", url, json.dumps(body).encode())
        try:
            return json.loads(reply)
        except (ValueError, RecursionError):
            raise Unreachable("answers with something that is no JSON") from None

    async def _request(
        self, http: httpx2.AsyncClient, method: str, url: str, content: bytes | None
    ) -> bytes:
        import httpx2

        try:
            # The client's own limits are per read: a byte now and then would never exceed them.
            async with asyncio.timeout(self.teacher.seconds):
                status, reply = await self._exchange(http, method, url, content)
        except TimeoutError:
            raise Unreachable(
                f"did not answer within {self.teacher.seconds:g} s ({self.setting}.seconds)"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            cause = str(error) or type(error).__name__
            raise Unreachable(f"cannot be reached ({cause})") from None
        self._check(status, url, reply)
        return reply

    async def _exchange(
        self, http: httpx2.AsyncClient, method: str, url: str, content: bytes | None
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        async with http.stream(method, url, content=content, headers=headers) as response:
            reply = bytearray()
            async for part in response.aiter_bytes():
                reply += part
                if len(reply) > LONGEST_REPLY:
                    raise Unreachable(f"answers with more than {LONGEST_REPLY // 2**20} MiB")
            self.traffic.bytes += len(content or b"") + response.num_bytes_downloaded
            return response.status_code, bytes(reply)

    def _check(self, status: int, url: str, reply: bytes) -> None:
        """Raise the error that a status other than 2xx means."""
        if 200 <= status < 300:
            return
        excerpt = self._excerpt(reply)
        if status in RETRYABLE_STATUSES or status >= 500:
            raise Unreachable(f"fails with status {status}{excerpt}")
        if status in PROMPT_STATUSES:
            raise TextRefused(f"the server refuses it with status {status}{excerpt}")
        if status in (401, 403):
            raise RunRefused(
                f"The server at {url} does not accept the key (status {status}).",
                f"Correct {self.setting}.key, or the secret that it names on the worker.",
            )
        raise RunRefused(
            f"The server at {url} refuses the request with status {status}{excerpt}.",
            f"Check {self.setting}.urls and {self.setting}.program.",
        )

    def _excerpt(self, reply: bytes) -> str:
        """The beginning of the server's error, without the key, which it may repeat."""
        text = " ".join(reply[: 10 * EXCERPT].decode("utf-8", "replace").split())
        text = text.replace(self.key, "…") if self.key else text
        return f" ({text[:EXCERPT]})" if text else ""
