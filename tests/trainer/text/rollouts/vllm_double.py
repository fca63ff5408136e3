"""A test double of a vLLM server: a thread of the test that speaks its protocol on a unix socket.

It does what a real server cannot be made to do on demand.
It opens the model folder that the engine writes, answers with its log-probs and draws with the
request's seed. It can die after some answers, answer rubbish, refuse, or not take weights.
"""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from trainer.text.rollouts.engines.vllm.client import EventStream, call
from trainer.text.rollouts.engines.vllm.server import Launch
from trainer.text.rollouts.engines.vllm.worker.stillroom_worker import checksum

Reply = tuple[int, Any]


@dataclass
class Manners:
    """How the servers of a test behave, one after the other.

    `dies_after` are the numbers of requests for answers that they complete, `breaks_after` those of
    tokens that they send one by one. `bodies` are the bodies of all requests for answers, and
    `given_up` counts those whose connection was closed by the trainer. Each token that is sent on
    its own takes one of `gate`. `worker_replies` are the first replies to calls of the workers;
    None hangs up.
    """

    dies_after: list[int] = field(default_factory=list)
    breaks_after: list[int] = field(default_factory=list)
    gate: threading.Semaphore | None = None
    given_up: int = 0
    takes_weights: bool = True
    computes: bool = True
    reply: Callable[[dict[str, Any]], Reply | None] = lambda body: None
    worker_replies: list[Reply | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    started: int = 0


class Double:
    """One start of a server, with the interface of `Server`."""

    def __init__(self, manners: Manners, model: Path) -> None:
        self.manners, self.model = (
            manners,
            AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        )
        self.left = manners.dies_after.pop(0) if manners.dies_after else -1
        self.tokens_left = manners.breaks_after.pop(0) if manners.breaks_after else -1
        self.taken: dict[str, Any] = {"version": -1, "checksums": {}}
        self.lock = threading.Lock()
        self.folder = tempfile.TemporaryDirectory()
        manners.started += 1
        self.http = _Http(str(self.socket), _handler(self))
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def socket(self) -> Path:
        return Path(self.folder.name) / "socket"

    def call(self, route: str, body: dict[str, Any] | None = None) -> Any:
        return call(self.socket, route, body, 30)

    def events(self, route: str, body: dict[str, Any]) -> EventStream:
        return EventStream(self.socket, route, body, 30)

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.folder.cleanup()

    # What is asked.

    def answer(self, route: str, body: dict[str, Any]) -> Reply | None:
        """Status and content; None to hang up."""
        with self.lock:
            if route == "/collective_rpc":
                if self.manners.worker_replies:
                    return self.manners.worker_replies.pop(0)
                return 200, {
                    "results": [
                        self._load(*body["args"])
                        if body["method"] == "stillroom_load"
                        else self.taken
                    ]
                }
            if "prompt_logprobs" in body:
                if not self.manners.computes:
                    return 500, {"error": "EngineCore is dead"}
                return 200, self._choice([0], [0.0], self._prompt_logprobs(body["prompt"]))
            if self.left == 0:
                return None
            self.left -= 1
            self.manners.bodies.append(body)
            return self.manners.reply(body) or (200, self._complete(body))

    def _load(self, path: str, version: str) -> dict[str, Any]:
        tensors = load_file(path)
        if self.manners.takes_weights:
            self.model.load_state_dict(tensors, strict=False)
        self.taken = {
            "version": int(version),
            "checksums": {name: checksum(tensor) for name, tensor in tensors.items()},
        }
        return self.taken

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(body["seed"] % 2**62)
        ids: list[int] = []
        logprobs: list[float] = []
        tops: list[dict[str, float]] = []
        while len(ids) < body["max_tokens"] and not set(ids) & set(body["stop_token_ids"]):
            law_V = self._law([*body["prompt"], *ids])[-1] / (body["temperature"] or 1.0)
            law_V = law_V.log_softmax(-1)
            drawn = int(torch.multinomial(law_V.exp(), 1, generator=generator))
            ids.append(drawn if body["temperature"] else int(law_V.argmax()))
            logprobs.append(float(law_V[ids[-1]]))
            listed = [ids[-1], *law_V.topk(body["logprobs"]).indices.tolist()]
            tops.append({f"token_id:{id}": float(law_V[id]) for id in listed})
        return self._choice(ids, logprobs, None, tops)

    def send_token(self) -> bool:
        """Whether the server still lives to send one."""
        if self.manners.gate:
            self.manners.gate.acquire()
        with self.lock:
            self.tokens_left -= self.tokens_left > 0
            return self.tokens_left != 0

    @torch.no_grad()
    def _law(self, ids: list[int]) -> Tensor:
        logits: Tensor = self.model(torch.tensor([ids])).logits[0]
        return logits.log_softmax(-1)

    def _prompt_logprobs(self, ids: list[int]) -> list[dict[str, Any] | None]:
        law_TV = self._law(ids)
        return [
            None,
            *({str(id): {"logprob": float(law_TV[index, id])}} for index, id in enumerate(ids[1:])),
        ]

    def _choice(
        self,
        ids: list[int],
        logprobs: list[float],
        prompt: object,
        tops: list[dict[str, float]] | None = None,
    ) -> dict[str, Any]:
        return {
            "choices": [
                {
                    "token_ids": ids,
                    "logprobs": {"token_logprobs": logprobs, "top_logprobs": tops},
                    "prompt_logprobs": prompt,
                }
            ]
        }


def opening(manners: Manners) -> Callable[[Launch, Path, Path], Any]:
    """What an engine opens its servers with."""
    return lambda launch, model, log: Double(manners, model)


class _Http(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def _handler(double: Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if (reply := double.answer(self.path, body)) is None:
                self.close_connection = True
                return
            status, content = reply
            if body.get("stream") and status == 200 and not isinstance(content, bytes):
                self._send_one_by_one(content["choices"][0])
                return
            encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def _send_one_by_one(self, choice: dict[str, Any]) -> None:
            self.send_response(200)
            self.end_headers()
            logprobs = choice["logprobs"]
            try:
                for index, id in enumerate(choice["token_ids"]):
                    if not double.send_token():
                        return
                    columns = {name: logprobs[name][index : index + 1] for name in logprobs}
                    self._send({"choices": [{"token_ids": [id], "logprobs": columns}]})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                double.manners.given_up += 1

        def _send(self, event: object) -> None:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
