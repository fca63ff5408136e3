"""Scores of a text from SGLang: POST /generate with `input_ids` and `return_logprob`.

The reply has [log-prob, id, text] of each input token from `logprob_start_len` on, the first one
without a log-prob, and lists of the same form with the likeliest tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.text.teachers.served.scores import Scores, SignalFault, TokenEntry, scores_of

ROUTE = "/generate"


def body(model: str, ids: Sequence[int], start: int, k: int, request: str = "") -> dict[str, Any]:
    """Return the request for the scores of `ids` from token `start` on."""
    return {
        "input_ids": list(ids),
        # A temperature of sampling divides the logits of the input's log-probs, too.
        "sampling_params": {"max_new_tokens": 0, "temperature": 1.0},
        "return_logprob": True,
        # The token before has no log-prob, but it must be read.
        "logprob_start_len": start - 1,
        "top_logprobs_num": k,
        "return_text_in_logprobs": True,
    }


def parse(reply: Any, ids: Sequence[int], start: int, k: int, vocabulary: int) -> Scores:
    """Return the scores of ids[start:]; raises as `vllm.parse`."""
    facts = reply["meta_info"]
    count = len(ids) - start
    written = _last(facts.get("input_token_logprobs"), count)
    likeliest = _last(facts.get("input_top_logprobs"), count) if k else [[]] * count
    entries = [
        TokenEntry(
            int(token[1]),
            _number(token[0]),
            [(int(entry[1]), _number(entry[0])) for entry in top or ()],
            str(token[2]) if len(token) > 2 and token[2] is not None else None,
        )
        for token, top in zip(written, likeliest, strict=True)
    ]
    return scores_of(entries, ids, k, vocabulary)


def _last(entries: Any, count: int) -> list[Any]:
    if not entries or len(entries) < count:
        raise SignalFault(
            f"returns log-probs of {len(entries or ())} of {count} tokens; use an SGLang server "
            "that returns those of its input"
        )
    return list(entries[len(entries) - count :])


def _number(value: Any) -> float:
    if value is None:
        raise SignalFault("returns no log-prob of a token of an answer")
    return float(value)
