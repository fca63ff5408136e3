"""A real HTTP server on the loopback that scores token ids as vLLM or SGLang do, and their faults.

The log-probs are computed by a network, `builtin:teacher` unless a test gives another. A fault
changes them as a broken server, cache or proxy would: silently.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import Tensor

from trainer.spec import Network
from trainer.text.language.heads import head_of, last_hidden
from trainer.text.language.models import LanguageModel, load

MODEL = "large"


@cache
def builtin(name: str = "teacher") -> LanguageModel:
    return load(Network(model=f"builtin:{name}"), frozen=True)


class ScoringServer(ThreadingHTTPServer):
    """Scores texts by `model`; `faults` are those that it has, by name.

    `status` is that of every reply, `failures` how many replies have the status 503 first, and
    `refused` the ids of tokens that no text may have after the first `refused_after` texts. Once
    it has scored `fails_at` texts it fails once; it always fails at texts with ids of `breaks`. The
    first `to_meet` requests wait for each other at `meeting`.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, model: LanguageModel, *faults: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.faults = model, set(faults)
        self.status, self.failures, self.refused = 200, 0, set[int]()
        self.refused_after, self.fails_at = 0, -1
        self.breaks = set[int]()
        self.meeting, self.to_meet = threading.Barrier(1), 0
        self.names, self.reads, self.shortest = [MODEL], 16, 1_000
        self.lengths: list[int] = []
        self.scored: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.seen: set[tuple[int, ...]] = set()
        self.flying: list[int] = []
        self.busiest = 0
        self.hidden: dict[str, Tensor] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    # The network, with the faults that change its numbers.

    @torch.no_grad()
    def read(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Return states [T, H] and log-probs [T, V]; those at t predict the token t + 1."""
        given = ids
        if "drops_prompt" in self.faults:
            # Only the last tokens are read, as by a server that cuts long texts in front.
            given = ids[-self.reads :]
        with self.lock:
            hidden_TH = last_hidden(self.model.model, torch.tensor([given]))[0]
            logits_TV = head_of(self.model.model).logits(hidden_TH, self.model.vocabulary)
        if "temperature_0" in self.faults:
            logits_TV = logits_TV * 1e6
        if "temperature" in self.faults:
            logits_TV = logits_TV / 0.7
        log_TV = logits_TV.log_softmax(-1)
        if "clamped" in self.faults:
            log_TV = log_TV.clamp_min(-3.0)
        return hidden_TH, torch.cat(
            [log_TV.new_zeros(len(ids) - len(given), log_TV.shape[1]), log_TV]
        )

    def scored_tokens(self, ids: list[int], k: int) -> list[dict[str, Any] | None]:
        """Return what the server says of each token of a text: its id, log-prob and likeliest."""
        _, log_TV = self.read(ids)
        written = log_TV[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
        shift = self._shift()
        if shift:
            written = torch.cat([written[shift:], written[:shift]])
        if "second_time" in self.faults and tuple(ids) in self.seen:
            written = written - 1.0
        self.seen.add(tuple(ids))
        # The shortest text of a check has the answer of one token.
        self.shortest = min(self.shortest, len(ids))
        entries: list[dict[str, Any] | None] = [None]
        for position, id in enumerate(ids[1:]):
            top = log_TV[position].topk(min(k, log_TV.shape[1]))
            probabilities = top.values + (0.5 if "mass" in self.faults else 0.0)
            entries.append(
                {
                    "id": ids[position] if "shifted_ids" in self.faults else id,
                    "logprob": float(written[position]),
                    "top": list(
                        zip(top.indices.tolist(), probabilities.clamp_max(0).tolist(), strict=True)
                    ),
                }
            )
        if "one_token" in self.faults and len(ids) == self.shortest:
            entries[-1] = {"id": ids[-1], "logprob": 0.0, "top": []}
        if "last_missing" in self.faults:
            entries[-1] = None
        if "fewer" in self.faults:
            for entry in entries[1:]:
                if entry:
                    entry["top"] = entry["top"][:2]
        return entries

    def _shift(self) -> int:
        if "shift" in self.faults:
            return 1
        if "shift_back" in self.faults:
            return -1
        return 0

    # The programs.

    def vllm(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = body["prompt"]
        if body.get("request_id"):
            self.hidden[body["request_id"]] = self.read(ids)[0]
        entries = self.scored_tokens(ids, body["prompt_logprobs"])
        prompt: list[Any] = []
        for entry in entries:
            if entry is None:
                prompt.append(None)
                continue
            listed = {
                str(id): {"logprob": value, "rank": rank + 1, "decoded_token": self.text(id)}
                for rank, (id, value) in enumerate(entry["top"])
            }
            own = {"logprob": entry["logprob"], "rank": 0, "decoded_token": self.text(entry["id"])}
            prompt.append({**listed, str(entry["id"]): own})
        if "missing" in self.faults:
            return {"choices": [{"text": "", "prompt_logprobs": None}]}
        return {"choices": [{"text": "", "prompt_logprobs": prompt}]}

    def sglang(self, body: dict[str, Any]) -> dict[str, Any]:
        start = body["logprob_start_len"]
        entries = self.scored_tokens(body["input_ids"], body["top_logprobs_num"])[start:]
        written = [
            [entry["logprob"], entry["id"], self.text(entry["id"])] if entry else [None, 0, None]
            for entry in entries
        ]
        top = [
            [[value, id, self.text(id)] for id, value in entry["top"]] if entry else None
            for entry in entries
        ]
        # SGLang gives the first token of the part no log-prob.
        written[0][0] = None
        facts = {"input_token_logprobs": written, "input_top_logprobs": top}
        return {"text": "", "meta_info": {} if "missing" in self.faults else facts}

    def states(self, body: dict[str, Any]) -> dict[str, Any]:
        request, first, last = body["args"]
        states = self.hidden.pop(request)[first:last]
        if "shifted_states" in self.faults:
            states = states.roll(1, 0)
        data = base64.b64encode(states.contiguous().numpy().tobytes()).decode()
        answer = {"data": data, "dtype": "float32", "shape": list(states.shape)}
        return {"results": [answer]}

    def text(self, id: int) -> str:
        tokenizer = self.model.tokenizer
        other = id + 1 if "other_tokenizer" in self.faults else id
        return str(tokenizer.decode([other % len(tokenizer)]))


class Handler(BaseHTTPRequestHandler):
    server: ScoringServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.status == 200:
            self.reply(200, {"data": [{"id": name} for name in self.server.names]})
        else:
            self.reply(self.server.status, {"error": "down"})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ids = body.get("prompt") or body.get("input_ids") or []
        with server.lock:
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.flying.append(len(ids))
            server.busiest = max(server.busiest, len(server.flying))
            failing = server.failures > 0 or 0 <= server.fails_at <= len(server.scored)
            failing |= bool(server.breaks & set(ids))
            server.failures -= server.failures > 0
            server.fails_at = -1 if failing else server.fails_at
            refusing = len(server.scored) >= server.refused_after
        self.meet()
        try:
            if failing or server.status != 200:
                self.reply(503 if failing else server.status, {"error": "not now, key abc"})
            elif refusing and server.refused & set(ids):
                self.reply(400, {"error": "this text is too long"})
            else:
                route = {
                    "/v1/completions": server.vllm,
                    "/generate": server.sglang,
                    "/collective_rpc": server.states,
                }[self.path]
                answer = route(body)
                if ids:
                    server.scored.append(len(ids))
                self.reply(200, answer)
        finally:
            with server.lock:
                server.flying.remove(len(ids))

    def meet(self) -> None:
        with self.server.lock:
            meets = self.server.to_meet > 0
            self.server.to_meet -= meets
        if meets:
            self.server.meeting.wait(60)

    def reply(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def scoring(*faults: str, model: LanguageModel | None = None) -> Iterator[ScoringServer]:
    server = ScoringServer(model or builtin(), *faults)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
