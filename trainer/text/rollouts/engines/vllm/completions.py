"""Requests for tokens to /v1/completions, and what its replies say of each token.

Prompts and answers are token ids. Log-probs are those of the sampling distribution, which is the
model's own at temperature 1 only; of a token that the trainer forces nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.vllm.client import MODEL, invalid_reply
from trainer.text.rollouts.records import Segment, Source

COMPLETIONS = "/v1/completions"
# Most likely tokens that a server reports at most, which is vLLM's own default.
MOST_TOP = 20


@dataclass(frozen=True)
class Token:
    """`logprob` is that of the sampling distribution; `top` are likely ids with their log-probs."""

    id: int
    logprob: float = float("nan")
    top: tuple[tuple[int, float], ...] = ()


def common(version: int) -> dict[str, Any]:
    """What every request has."""
    return {
        "model": MODEL,
        "detokenize": False,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        # The salt keeps what vLLM remembers of prompts apart by version: it would reuse keys and
        # values of old weights.
        "cache_salt": f"version {version}",
    }


def answer_body(
    context: Sequence[int],
    allowance: int,
    seed: int,
    sampling: Sampling,
    eos_ids: Sequence[int],
    top: int,
) -> dict[str, Any]:
    """The request for up to `allowance` tokens after `context`."""
    return {
        "prompt": list(context),
        "max_tokens": allowance,
        "temperature": sampling.temperature,
        "seed": seed,
        "logprobs": top,
        # The server reads no tokenizer; its own end token is that of the configuration file,
        # which may be none of the student's.
        "stop_token_ids": list(eos_ids),
        "ignore_eos": True,
    }


def choice_of(reply: Any) -> Any:
    """The only answer of a reply, or of one of its events."""
    try:
        (choice,) = reply["choices"]
        choice["token_ids"], choice["logprobs"]
    except (TypeError, KeyError, ValueError) as error:
        raise invalid_reply(COMPLETIONS, reply) from error
    return choice


def tokens_of(choice: Any, vocabulary: int, top: int) -> list[Token]:
    """The tokens of a choice. Raises Failure if they are none of the student's."""
    try:
        tokens = list(_tokens(choice, top))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise invalid_reply(COMPLETIONS, choice) from error
    if not all(0 <= token.id < vocabulary for token in tokens):
        raise invalid_reply(COMPLETIONS, choice)
    return tokens


def _tokens(choice: Any, top: int) -> Iterator[Token]:
    ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    tops = choice["logprobs"]["top_logprobs"] if top else [{}] * len(ids)
    for id, logprob, entries in zip(ids, logprobs, tops, strict=True):
        likeliest = sorted(entries.items(), key=lambda entry: -entry[1])[:top]
        # A key is `token_id:17`; the sampled token is listed too, also if it is none of the top.
        pairs = [(int(key.rpartition(":")[2]), float(value)) for key, value in likeliest]
        if len(pairs) < top:
            raise ValueError(f"{len(pairs)} of {top} likely tokens are reported")
        yield Token(int(id), float(logprob), tuple(pairs))


def prompt_logprobs(choice: Any, ids: Sequence[int]) -> list[float]:
    """The log-probs of ids[1:] in the model's own distribution."""
    try:
        entries = zip(ids[1:], choice["prompt_logprobs"][1:], strict=True)
        return [float(entry[str(id)]["logprob"]) for id, entry in entries]
    except (TypeError, KeyError, ValueError) as error:
        raise invalid_reply(COMPLETIONS, choice) from error


def segment(tokens: Sequence[Token], source: Source, sampling: Sampling, version: int) -> Segment:
    """Consecutive tokens of one author."""
    unknown = np.full(len(tokens), np.nan, np.float32)
    logprobs = np.array([token.logprob for token in tokens], dtype=np.float32)
    # The server reports no entropies. At temperature 1 the sampling distribution is the model's
    # own, because the definition may not cut it.
    return Segment(
        tuple(token.id for token in tokens),
        logprobs if sampling.temperature == 1 else unknown,
        logprobs if sampling.temperature else unknown,
        unknown,
        source,
        version,
    )
