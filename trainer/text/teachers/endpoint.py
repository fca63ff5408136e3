"""Requests to a model behind an OpenAI-compatible endpoint: POST <url>/chat/completions.

A request is repeated, after growing pauses, when the endpoint is down, slow, over its limit, broken
or sends an invalid answer; a pause is at least what `Retry-After` asks for. An error that waiting
cannot fix (a wrong key, model or address) ends the run at once. A single prompt that gets no answer
(it is too long, the endpoint filters it, or every answer to it is invalid) is set aside with its
reason, until a stated share of the prompts is. Every answer is cached before the next is awaited,
so that no answer is requested or paid for twice. Redirects are not followed: the key is for the
named host alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
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
# Characters of an endpoint's error that a message quotes.
EXCERPT = 200
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
    """This prompt gets no answer; `failure` is what ends the run if too many get none."""

    def __init__(self, reason: str, failure: Failure) -> None:
        super().__init__(reason)
        self.failure = failure


@dataclass
class SetAside:
    """Counts prompts without answer; more than `most` of them end the run."""

    most: float
    count: int = 0

    def add(self, error: NoAnswer) -> Completion:
        """Return the completion that says why there is none. Raises the failure of one too many."""
        self.count += 1
        if self.count > self.most:
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
        self, prompts: Sequence[ChatPrompt], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Return one completion to each prompt, in order; equal prompts share theirs.

        A prompt that gets no answer has a completion with the reason (`set_aside`). `progress(done,
        of)` is called as they arrive and may raise to cancel. Raises Failure when the endpoint does
        not answer after all retries or too many prompts get no answer, and RunRefused when retrying
        is useless.
        """
        unique_prompts = list(dict.fromkeys(prompts))
        completions = asyncio.run(
            self._write([self._body(prompt, sampling) for prompt in unique_prompts], progress)
        )
        completion_by_prompt = dict(zip(unique_prompts, completions, strict=True))
        return [completion_by_prompt[prompt] for prompt in prompts]

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
        self, bodies: Sequence[dict[str, Any]], progress: Progress | None
    ) -> list[Completion]:
        import httpx2

        free = asyncio.Semaphore(self.teacher.at_once)
        set_aside = SetAside(self.teacher.most_unanswered * len(bodies))
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # The client's time limits are per read: a server that sends a byte now and then would never
        # exceed them. `_attempt` limits the whole request instead.
        async with httpx2.AsyncClient(
            headers=headers, timeout=None, follow_redirects=False
        ) as client:
            tasks = [
                asyncio.create_task(self._cached_or_requested(client, free, body, set_aside))
                for body in bodies
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
        set_aside: SetAside,
    ) -> Completion:
        request = {"url": self.teacher.url, "body": body}
        async with free:
            if cached := self.cache.get(request):
                return cached
            try:
                completion = await self._request_with_retries(client, body)
            except NoAnswer as error:
                return set_aside.add(error)
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
                    if isinstance(error, InvalidReply):
                        reason = f"the endpoint {error}; it was asked {attempts}"
                        raise NoAnswer(reason, failure) from None
                    raise failure from None
                # The pause doubles, and up to half of it is random: requests that failed together
                # do not return together.
                backoff = FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
                await self.pause(min(LONGEST_PAUSE, max(backoff, error.pause)))
            attempt += 1

    async def _attempt(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Completion:
        import httpx2

        try:
            async with asyncio.timeout(self.teacher.seconds):
                response = await client.post(f"{self.teacher.url}/chat/completions", json=body)
        except TimeoutError:
            raise RetryableError(
                f"did not answer within {self.teacher.seconds:g} s (networks.teacher.seconds)"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise RetryableError(
                f"cannot be reached ({str(error) or type(error).__name__})"
            ) from None
        self._check(response)
        completion, finish = _completion(response)
        if finish == "content_filter" and not completion.text.strip():
            sentence = f"The teacher at {self.teacher.url} filters the answer."
            raise NoAnswer("the endpoint's content filter leaves no answer", Failure(sentence))
        # Without a text, reasoning has used up the longest answer: it was cut.
        if not completion.text.strip() and not completion.truncated:
            raise InvalidReply("gives an empty answer")
        return completion

    def _check(self, response: httpx2.Response) -> None:
        """Raise the error that a status other than 200 means."""
        status, url = response.status_code, self.teacher.url
        if status == 200:
            return
        # 429 and 5xx may come with a `Retry-After` header.
        if status == 429:
            raise RetryableError(
                "limits how often it may be asked (status 429)", _retry_after(response)
            )
        if status in RETRYABLE_STATUSES or status >= 500:
            raise RetryableError(
                f"fails with status {status}{self._error_excerpt(response)}", _retry_after(response)
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
        excerpt = self._error_excerpt(response)
        refusal = RunRefused(
            f"The teacher at {url} refuses the request with status {status}{excerpt}.", remedy
        )
        if status in PROMPT_STATUSES:
            raise NoAnswer(f"the endpoint refuses it with status {status}{excerpt}", refusal)
        raise refusal

    def _error_excerpt(self, response: httpx2.Response) -> str:
        """The endpoint's error text, short and without the key."""
        text = " ".join(response.text.split())
        # An endpoint may repeat the key in its error, and this text gets into the log.
        text = text.replace(self.key, "…") if self.key else text
        return f" ({text[:EXCERPT]})" if text else ""


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


def _completion(response: httpx2.Response) -> tuple[Completion, str]:
    """Return the completion and why it ended. Raises InvalidReply for anything else."""
    try:
        content = response.json()
        choice = content["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        # Servers call the reasoning by one of two names.
        text, reasoning = (
            message.get("content") or "",
            message.get("reasoning_content") or message.get("reasoning") or "",
        )
        tokens = clamped_tokens((content.get("usage") or {}).get("completion_tokens") or 0)
        # Postgres stores neither NUL nor half of a surrogate pair; `encode` raises for the latter.
        clean = all(
            isinstance(part, str) and "\0" not in part and part.encode() is not None
            for part in (text, reasoning)
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise InvalidReply("answers with something that is no chat completion") from None
    if not clean:
        raise InvalidReply("answers with a text that has characters which no text may have")
    return Completion(text, finish == "length", tokens, reasoning), str(finish)


def _retry_after(response: httpx2.Response) -> float:
    """Seconds in the `Retry-After` header, a number or a date; 0 if it cannot be read."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        # A date is by the server's clock, and so is that of its answer.
        sent = response.headers.get("date")
        now = parsedate_to_datetime(sent).timestamp() if sent else time.time()
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
