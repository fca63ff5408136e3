"""Odd replies of an endpoint: each concerns its own prompt, until too many do."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.teachers.endpoint_server import Reply, Server, running, status
from tests.trainer.text.teachers.test_endpoint import LAW, Asking
from trainer.engine.outcome import Failure, RunRefused
from trainer.text.teachers.completion_cache import Completion


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as result:
        yield result


def message(finish: str | None = "stop", **fields: Any) -> Reply:
    choice = {"message": {"role": "assistant", **fields}, "finish_reason": finish}
    return 200, {}, json.dumps({"choices": [choice], "usage": {"completion_tokens": 50}}).encode()


def twice(reply: Reply) -> Reply:
    """The reply with a second choice and no `usage`."""
    choices = json.loads(reply[2])["choices"]
    other = {"message": {"content": "other"}, "finish_reason": "length", "logprobs": None}
    return 200, {}, json.dumps({"choices": [*choices, other]}).encode()


def packed(reply: Reply) -> Reply:
    return 200, {"Content_Encoding": "gzip"}, gzip.compress(reply[2], 1)


def too_long(message: str = "This model's maximum context length is 4096 tokens") -> Reply:
    return 400, {}, json.dumps({"error": {"message": message}}).encode()


# A reply, and what becomes of the prompt: text, whether it was cut, reasoning, reason for none.
ODD: list[tuple[Reply, str, bool, str, str]] = [
    (message("length", content=None, reasoning="long thoughts"), "", True, "long thoughts", ""),
    (message("length", content=None, reasoning_content="hm"), "", True, "hm", ""),
    (message("length", content=""), "", True, "", ""),
    (message("length"), "", True, "", ""),
    (
        message(content="4", reasoning_content="2+2 is 4 because …"),
        "4",
        False,
        "2+2 is 4 because …",
        "",
    ),
    (message(content="4", reasoning="thus"), "4", False, "thus", ""),
    (message(content="4", reasoning_content=None), "4", False, "", ""),
    (message(content="4", refusal=None, tool_calls=[]), "4", False, "", ""),
    (message("content_filter", content=""), "", False, "", "content filter"),
    (message("content_filter", content=None), "", False, "", "content filter"),
    (message("content_filter", content="half of it"), "half of it", False, "", ""),
    (message(content=None), "", False, "", "gives an empty answer; it was asked 4 times"),
    (message("tool_calls", content=None), "", False, "", "empty answer"),
    (message(content=["one ", "part"]), "one part", False, "", ""),
    (message(content=[{"type": "text", "text": "4"}]), "4", False, "", ""),
    (
        message(content=[{"type": "text", "text": "4"}, {"type": "image_url", "image_url": {}}]),
        "4",
        False,
        "",
        "",
    ),
    (
        message(
            content=[
                {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                {"type": "text", "text": "4"},
            ]
        ),
        "4",
        False,
        "2+2",
        "",
    ),
    (message(content=[]), "", False, "", "empty answer"),
    (message(content=[{"type": "text"}]), "", False, "", "no chat completion"),
    (message(content={"text": "4"}), "", False, "", "no chat completion"),
    (message(content=4), "", False, "", "no chat completion"),
    (message(content=None, refusal="I cannot help."), "", False, "", "refuses to answer .I cannot"),
    (message(content="4", refusal="but I should not"), "4", False, "", ""),
    (message("max_tokens", content="and so"), "and so", True, "", ""),
    (message("MAX_TOKENS", content=None), "", True, "", ""),
    (message("model_length", content="and so"), "and so", True, "", ""),
    (message(None, content="4"), "4", False, "", ""),
    (twice(message(content="4")), "4", False, "", ""),
    ((201, {}, message(content="4")[2]), "4", False, "", ""),
    (packed(message(content="4")), "4", False, "", ""),
    (packed(message(content="4" * 20_000_000)), "", False, "", "more than 16 MiB"),
    ((200, {"Content_Encoding": "gzip"}, b"no gzip"), "", False, "", "asked 4 times"),
    ((200, {}, message(content="4")[2][:-9]), "", False, "", "no chat completion"),
    ((200, {}, b""), "", False, "", "no chat completion"),
    ((200, {}, b"<html>busy</html>"), "", False, "", "no chat completion"),
    ((200, {}, b"null"), "", False, "", "no chat completion"),
    ((200, {}, b"[]"), "", False, "", "no chat completion"),
    ((200, {}, b'"text"'), "", False, "", "no chat completion"),
    ((200, {}, b'{"choices": null}'), "", False, "", "no chat completion"),
    ((200, {}, b'{"choices": [null]}'), "", False, "", "no chat completion"),
    ((200, {}, b'{"choices": [{"text": "4"}]}'), "", False, "", "no chat completion"),
    (
        (200, {}, b'{"error": {"message": "the provider is overloaded", "code": 502}}'),
        "",
        False,
        "",
        "answers with an error .*overloaded",
    ),
    ((500, {}, b'{"error": null}'), "", False, "", "status 500 .*asked 4 times"),
    ((503, {"Retry_After": "nan"}, b"[]"), "", False, "", "status 503 .*asked 4 times"),
    ((429, {}, b'{"detail": [1]}'), "", False, "", "limits how often .*asked 4 times"),
    ((400, {}, b'{"error": "' + b"x" * 5000), "", False, "", "status 400 .*x"),
    ((400, {}, b""), "", False, "", "status 400$"),
    ((422, {}, b'{"detail": [{"loc": ["body"]}]}'), "", False, "", "status 422 .*loc"),
    ((200, {}, b"{}"), "", False, "", "no chat completion; it was asked 4 times"),
    (too_long(), "", False, "", "status 400 .*maximum context length is 4096"),
    ((413, {}, b"too large"), "", False, "", "status 413 .too large"),
    ((422, {}, b"bad"), "", False, "", "status 422 .bad"),
]


@pytest.mark.parametrize(("reply", "text", "truncated", "reasoning", "reason"), ODD)
def test_one_odd_reply_concerns_its_own_prompt_alone(
    server: Server,
    tmp_path: Path,
    reply: Reply,
    text: str,
    truncated: bool,
    reasoning: str,
    reason: str,
) -> None:
    server.by_prompt["odd"] = reply
    asking = Asking(server.url, tmp_path, retries=3)
    first, odd, last = asking.endpoint.write(["first", "odd", "last"], LAW)
    assert (first.text, last.text) == ("echo first", "echo last")
    assert (odd.text, odd.truncated, odd.reasoning) == (text, truncated, reasoning)
    assert bool(odd.set_aside) == bool(reason) and re.search(reason, odd.set_aside)

    # What was answered is asked for once; what was not is asked for again.
    asked = len(server.bodies)
    assert (
        Asking(server.url, tmp_path, retries=0)
        .endpoint.write(["odd"] * 2 + ["last", "x"], LAW)[0]
        .text
        == text
    )
    again = [body["messages"][0]["content"] for body in server.bodies[asked:]]
    assert again.count("odd") == bool(reason) and "last" not in again


def test_a_share_of_prompts_without_answer_ends_the_run(server: Server, tmp_path: Path) -> None:
    prompts = [str(number) for number in range(10)]
    for number in range(4):
        server.by_prompt[str(number)] = too_long()
    asking = Asking(server.url, tmp_path / "a", most_unanswered=0.4)
    completions = asking.endpoint.write(prompts, LAW)
    assert [bool(completion.set_aside) for completion in completions] == [True] * 4 + [False] * 6
    with pytest.raises(RunRefused, match="refuses the request with status 400"):
        Asking(server.url, tmp_path / "b", most_unanswered=0.39).endpoint.write(prompts, LAW)
    with pytest.raises(RunRefused):
        Asking(server.url, tmp_path / "c", most_unanswered=0).endpoint.write(prompts, LAW)


@pytest.mark.parametrize("at_once", [1, 8])
def test_an_endpoint_that_goes_down_ends_the_run_after_a_few_prompts(
    server: Server, tmp_path: Path, at_once: int
) -> None:
    """A prompt at which it breaks down is set aside; many in a row mean that it is down."""
    prompts = [str(number) for number in range(40)]
    for number in (3, 9, 20):
        server.by_prompt[str(number)] = status(500, "out of memory")
    asking = Asking(server.url, tmp_path / "a", retries=1, at_once=at_once)
    completions = asking.endpoint.write(prompts, LAW)
    assert [prompt for prompt, completion in zip(prompts, completions, strict=True)
            if completion.set_aside] == ["3", "9", "20"]  # fmt: skip
    server.by_prompt = {prompt: status(503, "down") for prompt in prompts[10:]}
    asked = len(server.bodies)
    with pytest.raises(Failure, match=r"fails with status 503 \(down\); it was asked 2 times"):
        Asking(server.url, tmp_path / "b", retries=1, at_once=at_once).endpoint.write(prompts, LAW)
    assert len(server.bodies) - asked <= 10 + 2 * (4 + at_once)


def test_reasoning_may_stand_before_the_answer() -> None:
    whole, cut = Completion("4", False, 9, "2+2"), Completion("", True, 9, "2+")
    assert whole.written("leave_out") == "4" and cut.written("leave_out") == ""
    assert whole.written("think_tags") == "<think>\n2+2\n</think>\n\n4"
    assert cut.written("think_tags") == "<think>\n2+"
    assert Completion("4", False, 9).written("think_tags") == "4"
