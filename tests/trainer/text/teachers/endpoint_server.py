"""A real HTTP server on the loopback that answers chat completions as a script says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def completion(text: Any, finish: str = "stop", tokens: int = 7) -> Reply:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    return (
        200,
        {},
        json.dumps({"choices": [choice], "usage": {"completion_tokens": tokens}}).encode(),
    )


def status(code: int, message: str = "", **headers: str) -> Reply:
    return code, headers, message.encode()


class Server(ThreadingHTTPServer):
    """Gives the replies of `script` to the first requests, then echoes.

    Records the requests and the largest number in progress at once.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply | Callable[[], Reply]] = []
        # Replies to prompts that are always answered alike.
        self.by_prompt: dict[str, Reply] = {}
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.busy, self.busiest, self.lock = 0, 0, threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def reply(self, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][0]["content"]
        if prompt in self.by_prompt:
            return self.by_prompt[prompt]
        with self.lock:
            scripted = (
                self.script.pop(0)
                if self.script
                else completion(f"echo {body['messages'][0]['content']}")
            )
        return scripted() if callable(scripted) else scripted


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.paths.append(self.path)
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        server.gate.wait(300)
        code, headers, content = server.reply(body)
        with server.lock:
            server.busy -= 1
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
