"""Scores of a text from vLLM: POST /v1/completions with token ids and `prompt_logprobs`.

Hidden states come from our extension of vLLM's worker. It keeps those after the final norm of a
request whose id begins with `HIDDEN`, until they are taken by POST /collective_rpc:

    {"method": "take_hidden_states", "args": [request id, first, last]}
    {"results": [{"data": base64, "dtype": "bfloat16", "shape": [last - first, H]}]}

They are little-endian, row by row; parts of a model on several GPUs may answer null.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.text.teachers.served.scores import Scores, SignalFault, TokenEntry, scores_of

ROUTE = "/v1/completions"
HIDDEN_ROUTE = "/collective_rpc"
# Beginning of the ids of requests whose hidden states are kept.
HIDDEN = "stillroom-hidden-"
FORMATS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def body(model: str, ids: Sequence[int], start: int, k: int, request: str = "") -> dict[str, Any]:
    """Return the request for the scores of `ids`; `request` is its id, where that matters."""
    request_body: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        # It has no request without a new token.
        "max_tokens": 1,
        "temperature": 1.0,
        # The written token is scored beside the likeliest; 0 is taken for none by some versions.
        "prompt_logprobs": max(k, 1),
    }
    return {**request_body, "request_id": request} if request else request_body


def parse(reply: Any, ids: Sequence[int], start: int, k: int, vocabulary: int) -> Scores:
    """Return the scores of ids[start:].

    Raises SignalFault for scores that cannot be right, and KeyError, TypeError, ValueError,
    IndexError or AttributeError for what is no reply of vLLM.
    """
    positions = reply["choices"][0].get("prompt_logprobs")
    if not positions:
        raise SignalFault(
            "returns no log-probs of the prompt (prompt_logprobs); use a vLLM server that does"
        )
    if len(positions) != len(ids):
        raise SignalFault(f"scores {len(positions)} tokens of a text of {len(ids)}")
    entries = [
        _entry(positions[index], ids[index], index - start) for index in range(start, len(ids))
    ]
    return scores_of(entries, ids, k, vocabulary)


def _entry(position: Any, id: int, index: int) -> TokenEntry:
    if not position:
        raise SignalFault(f"returns no log-prob of token {index + 1} of an answer")
    likeliest = [(int(key), float(entry["logprob"])) for key, entry in position.items()]
    own = position.get(str(id))
    if own is None:
        # Its rank says which of the entries is the written token; the likeliest come after it.
        return TokenEntry(likeliest[0][0], likeliest[0][1], likeliest)
    text = own.get("decoded_token")
    return TokenEntry(id, float(own["logprob"]), likeliest, text if text is None else str(text))


def hidden_body(request: str, start: int, length: int) -> dict[str, Any]:
    """Return the request for the states that predict the tokens `start` to `length`."""
    return {"method": "take_hidden_states", "args": [request, start - 1, length - 1]}


def parse_hidden(reply: Any, count: int, width: int) -> Tensor:
    """Return the states [count, width]. Raises as `parse`."""
    answer = next((result for result in reply["results"] if result), None)
    if answer is None:
        raise SignalFault("returns no hidden states; start it with our worker extension")
    shape = [int(size) for size in answer["shape"]]
    if shape != [count, width]:
        raise SignalFault(
            f"returns hidden states of shape {shape} where {[count, width]} are expected: it has "
            "another model than gives.head, or has not kept all tokens"
        )
    data = bytearray(base64.b64decode(answer["data"]))
    states = torch.frombuffer(data, dtype=FORMATS[answer["dtype"]]).reshape(count, width)
    if not torch.isfinite(states).all():
        raise SignalFault("returns hidden states that are not finite")
    return states
