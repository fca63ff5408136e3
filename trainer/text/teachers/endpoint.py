"""Requests to a model behind an OpenAI-compatible endpoint: POST <url>/chat/completions.

A request is repeated, after growing pauses, when the endpoint is down, slow, over its limit, broken
or sends an invalid answer; a pause is at least what `Retry-After` asks for. An error that waiting
cannot fix (a wrong key, model or address) ends the run at once. A single prompt that gets no answer
(it is too long, the endpoint filters or refuses it, or all attempts at it fail) is set aside with
its reason, until a stated share of the prompts is, or several in a row find the endpoint down.
Every answer is cached before the next is awaited, so that no answer is requested or paid for twice.
Redirects are not followed: the key is for the named host alone.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from trainer.engine.outcome import Failure, RunRefused
from trainer.spec import EndpointTeacher, Sampling
from trainer.text.rollouts.records import Progress
from trainer.text.teachers.completion_cache import Completion, CompletionCache, clamped_tokens
from trainer.text.teachers.secret_values import value_of

if TYPE_CHECKING:
    import httpx2

# Seconds.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
# Seconds between two reports of progress, at which a run can be stopped.
PROGRESS_SECONDS = 0.5
# Request timeout, conflict, too early, too many requests; every 5xx status is repeated, too.
RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
# Bad request, content too large, unprocessable content: they concern this prompt alone.
PROMPT_STATUSES = frozenset({400, 413, 422})
# Reasons for which an answer ends that mean that it was cut; OpenAI's is the first.
CUT = ("length", "max_tokens", "model_length", "max_output_tokens")
# Names of the reasoning beside an answer.
REASONING = ("reasoning_content", "reasoning")
# Characters of an endpoint's error that a message quotes.
EXCERPT = 200
# Bytes of a reply; the longest answers have a few megabytes with their log-probs.
LONGEST_REPLY = 16 * 2**20
# Prompts that fail one after the other, with no answer between them, before the endpoint counts as
# down. One prompt at which a server breaks down concerns itself alone.
FAILED_IN_A_ROW = 3
RESUME_REMEDY = (
    "Resume the run once it answers as it should; what it has written is kept and not asked for "
    "again."
)


# A question, or the (role, text) of each message before and with it.
ChatPrompt = str | tuple[tuple[str, str], ...]


class RetryableError(Exception):
    """One attempt failed in a way that may pass.

    `pause` is the number of seconds that the endpoint asks to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class InvalidReply(RetryableError):
    """The endpoint answers, but not with an answer; another attempt may get one."""


class NoAnswer(Exception):
    """This prompt gets no answer; `failure` is what ends the run if too many get none.

    `is_down`: the endpoint did not answer at all.
    """

    def __init__(self, reason: str, failure: Failure, is_down: bool = False) -> None:
        super().__init__(reason)
        self.failure = failure
        self.is_down = is_down


@dataclass(frozen=True)
class Reply:
    """A response whose whole body was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body[: 10 * EXCERPT].decode("utf-8", "replace")


@dataclass
class SetAside:
    """Counts prompts without answer; more than `most` of them end the run."""

    most: float
    count: int = 0
    failed_in_a_row: int = 0

    def add(self, error: NoAnswer) -> Completion:
        """Return the completion that says why there is none. Raises the failure of one too many."""
        self.count += 1
        self.failed_in_a_row = self.failed_in_a_row + 1 if error.is_down else 0
        if self.count > self.most or self.failed_in_a_row > FAILED_IN_A_ROW:
            raise error.failure from None
        return Completion("", False, 0, set_aside=str(error))


@dataclass(frozen=True)
class Endpoint:
    """A teacher and the cache of its completions; `pause` waits for that many seconds."""

    teacher: EndpointTeacher
    cache: CompletionCache
    pause: Callable[[float], Awaitable[Any]] = asyncio.sleep

    @cached_property
    def key(self) -> str:
        return key_of(self.teacher)

    def write(
        self,
        prompts: Sequence[ChatPrompt],
        sampling: Sampling,
        progress: Progress | None = None,
        per_prompt: int = 1,
    ) -> list[Completion]:
        """Return `per_prompt` completions to each prompt, in order; equal prompts share theirs.

        A prompt that gets no answer has a completion with the reason (`set_aside`). `progress(done,
        of)` is called as they arrive and may raise to cancel. Raises Failure when the endpoint does
        not answer after all retries or too many prompts get no answer, and RunRefused when retrying
        is useless.
        """
        unique_prompts = list(dict.fromkeys(prompts))
        bodies = [self._body(prompt, sampling) for prompt in unique_prompts]
        completions = iter(
            asyncio.run(
                self._write(
                    [(body, sample) for body in bodies for sample in range(per_prompt)], progress
                )
            )
        )
        completions_by_prompt = {
            prompt: list(islice(completions, per_prompt)) for prompt in unique_prompts
        }
        return [completion for prompt in prompts for completion in completions_by_prompt[prompt]]

    def _body(self, prompt: ChatPrompt, sampling: Sampling) -> dict[str, Any]:
        """The request body.

        `top_k` is not part of OpenAI's interface, so it is sent only where the definition sets it.
        """
        messages = (("user", prompt),) if isinstance(prompt, str) else prompt
        body = {
            "model": self.teacher.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        return {**body, "top_k": sampling.top_k} if sampling.top_k else body

    async def _write(
        self, requests: Sequence[tuple[dict[str, Any], int]], progress: Progress | None
    ) -> list[Completion]:
        """Return the completion of each body, which is asked for as its answer of that number."""
        import httpx2

        free = asyncio.Semaphore(self.teacher.at_once)
        set_aside = SetAside(self.teacher.most_unanswered * len(requests))
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # The client's time limits are per read: a server that sends a byte now and then would never
        # exceed them. `_attempt` limits the whole request instead.
        async with httpx2.AsyncClient(
            headers=headers, timeout=None, follow_redirects=False
        ) as client:
            tasks = [
                asyncio.create_task(self._cached_or_requested(client, free, *request, set_aside))
                for request in requests
            ]
            try:
                await _wait_for_all(tasks, progress)
            finally:
                # After a failure the other requests must end before the client is closed.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    async def _cached_or_requested(
        self,
        client: httpx2.AsyncClient,
        free: asyncio.Semaphore,
        body: dict[str, Any],
        sample: int,
        set_aside: SetAside,
    ) -> Completion:
        # The number of a further answer, which is asked for in the same words as the first.
        number = {"sample": sample} if sample else {}
        request = {"url": self.teacher.url, "body": body, **number}
        async with free:
            if cached := self.cache.get(request):
                return cached
            try:
                completion = await self._request_with_retries(client, body)
            except NoAnswer as error:
                return set_aside.add(error)
            set_aside.failed_in_a_row = 0
            self.cache.put(request, completion)
            return completion

    async def _request_with_retries(
        self, client: httpx2.AsyncClient, body: dict[str, Any]
    ) -> Completion:
        attempt = 1
        while True:
            try:
                return await self._attempt(client, body)
            except RetryableError as error:
                if attempt > self.teacher.retries:
                    attempts = "once" if attempt == 1 else f"{attempt} times"
                    failure = Failure(
                        f"The teacher at {self.teacher.url} {error}; it was asked {attempts}.",
                        RESUME_REMEDY,
                    )
                    reason = f"the endpoint {error}; it was asked {attempts}"
                    is_down = not isinstance(error, InvalidReply)
                    raise NoAnswer(reason, failure, is_down) from None
                # The pause doubles, and up to half of it is random: requests that failed together
                # do not return together.
                backoff = FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
                await self.pause(min(LONGEST_PAUSE, max(backoff, error.pause)))
            attempt += 1

    async def _attempt(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Completion:
        import httpx2

        try:
            async with asyncio.timeout(self.teacher.seconds):
                reply = await self._reply(client, body)
        except TimeoutError:
            raise RetryableError(
                f"did not answer within {self.teacher.seconds:g} s (networks.teacher.seconds)"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise RetryableError(
                f"cannot be reached ({str(error) or type(error).__name__})"
            ) from None
        self._check(reply)
        completion, finish, refusal = self._completion(reply)
        if not completion.text.strip() and (finish == "content_filter" or refusal):
            sentence = f"The teacher at {self.teacher.url} filters or refuses the answer."
            reason = (
                f"the endpoint's model refuses to answer ({refusal[:EXCERPT]})"
                if refusal
                else "the endpoint's content filter leaves no answer"
            )
            raise NoAnswer(reason, Failure(sentence))
        # Without a text, reasoning has used up the longest answer: it was cut.
        if not completion.text.strip() and not completion.truncated:
            raise InvalidReply("gives an empty answer")
        return completion

    async def _reply(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Reply:
        """Send a request and read its whole reply. Raises InvalidReply for one without end."""
        url = f"{self.teacher.url}/chat/completions"
        async with client.stream("POST", url, json=body) as response:
            content = bytearray()
            # Unpacked: a small reply may be a bomb.
            async for part in response.aiter_bytes():
                content += part
                if len(content) > LONGEST_REPLY:
                    raise InvalidReply(f"answers with more than {LONGEST_REPLY // 2**20} MiB")
            return Reply(response.status_code, response.headers, bytes(content))

    def _check(self, reply: Reply) -> None:
        """Raise the error that a status other than 2xx means."""
        status, url = reply.status, self.teacher.url
        if 200 <= status < 300:
            return
        # 429 and 5xx may come with a `Retry-After` header.
        if status == 429:
            raise RetryableError(
                "limits how often it may be asked (status 429)", _retry_after(reply.headers)
            )
        if status in RETRYABLE_STATUSES or status >= 500:
            raise RetryableError(
                f"fails with status {status}{self._excerpt(reply.text)}",
                _retry_after(reply.headers),
            )
        if status in (401, 403):
            reason = f"The teacher at {url} does not accept the key (status {status})."
            raise RunRefused(
                reason, "Correct networks.teacher.key, or the secret that it names on the worker."
            )
        remedy = (
            "Check networks.teacher.url, which ends as a rule with /v1, the model's name and the "
            "longest answer."
        )
        excerpt = self._excerpt(reply.text)
        refusal = RunRefused(
            f"The teacher at {url} refuses the request with status {status}{excerpt}.", remedy
        )
        if status in PROMPT_STATUSES:
            raise NoAnswer(f"the endpoint refuses it with status {status}{excerpt}", refusal)
        raise refusal

    def _excerpt(self, text: str) -> str:
        """The endpoint's error text, short and without the key."""
        text = " ".join(text.split())
        # An endpoint may repeat the key in its error, and this text gets into the log.
        text = text.replace(self.key, "…") if self.key else text
        return f" ({text[:EXCERPT]})" if text else ""

    def _completion(self, reply: Reply) -> tuple[Completion, str, str]:
        """Return the completion, why it ended and the refusal. Raises InvalidReply for none."""
        try:
            content = json.loads(reply.body)
            if isinstance(content, dict) and content.get("error") and not content.get("choices"):
                raise InvalidReply(f"answers with an error{self._excerpt(reply.text)}")
            choice = content["choices"][0]
            message, finish = choice["message"], choice.get("finish_reason")
            text, thoughts = _texts(message.get("content"))
            named = (_texts(message[name])[0] for name in REASONING if message.get(name))
            reasoning = next(named, thoughts)
            refusal, _ = _texts(message.get("refusal"))
            tokens = clamped_tokens((content.get("usage") or {}).get("completion_tokens") or 0)
            # Postgres stores neither NUL nor half of a surrogate pair, which `encode` refuses.
            clean = "\0" not in f"{text}{reasoning}{refusal}".encode().decode()
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise InvalidReply("answers with something that is no chat completion") from None
        if not clean:
            raise InvalidReply("answers with a text that has characters which no text may have")
        is_cut = str(finish).lower() in CUT
        return Completion(text, is_cut, tokens, reasoning), str(finish), refusal


def key_of(teacher: EndpointTeacher) -> str:
    """The key's value, empty where none is named.

    Raises RunRefused if its secret is not set on this worker.
    """
    return value_of(teacher.key, "networks.teacher.key") if teacher.key else ""


async def _wait_for_all(
    tasks: Sequence[asyncio.Task[Completion]], progress: Progress | None
) -> None:
    """Wait until all tasks are done. Raises what the first failing one raises."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(
            pending, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()
        if progress:
            progress(len(tasks) - len(pending), len(tasks))


def _texts(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning of a content: a text, or a list of parts.

    Raises TypeError for anything else. Parts that are neither, such as images, are left out.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise TypeError("a content is a text or a list")
    texts: list[str] = []
    reasoning: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") in ("text", "output_text"):
            texts.append(part["text"])
        elif part.get("type") in ("thinking", "reasoning"):
            reasoning += _texts(part.get("thinking") or part.get("text"))
    return "".join(texts), "".join(reasoning)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds in a `Retry-After` header, a number or a date; 0 if it cannot be read."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        # A date is by the server's clock, and so is that of its answer.
        sent = headers.get("date")
        now = parsedate_to_datetime(sent).timestamp() if sent else time.time()
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
