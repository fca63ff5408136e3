"""Eight processes that send requests of 100 points and wait for each answer.

    python -m bench.ingest.writers PROTOCOL HOST:PORT TOKEN SECONDS

Prints one line of JSON: points per second, and median and 95th percentile of the milliseconds until
an answer.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import socket
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

WRITERS = 8
STEPS, KEYS = 10, 10
POINTS = STEPS * KEYS
TIMEOUT_SECONDS = 120
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class LoggedRun(NamedTuple):
    """`send` logs one batch by its number; `history` reads back the values of a metric."""

    send: Callable[[int], None]
    history: Callable[[int], bytes]


class Connection:
    """One keep-alive connection with a minimal HTTP client, which leaves the CPU to the servers."""

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        # Otherwise the last segment of a request may wait for the acknowledgement of the one
        # before.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {
            "Host": address,
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "X-Trackio-Write-Token": token,
        }
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def post(self, path: str, body: str) -> bytes:
        content = body.encode()
        head = f"POST {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(content)}\r\n\r\n"
        return self._sent(path, head.encode() + content)

    def get(self, path: str) -> bytes:
        return self._sent(path, f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())

    def _sent(self, path: str, request: bytes) -> bytes:
        self._socket.sendall(request)
        status, answer = self._answer()
        if status != 200:
            raise SystemExit(f"{path}: {status} {answer[:300]!r}")
        return answer

    def _answer(self) -> tuple[int, bytes]:
        """Status and body of an answer, whose Content-Length must be given."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        announced = LENGTH.search(head)
        if announced is None:
            raise SystemExit("The answer of the server has no Content-Length.")
        length = int(announced[1])
        while len(body) < length:
            body += self._more()
        return int(head[9:12]), body

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise SystemExit("The server closed a connection.")
        return data


def mlflow(connection: Connection, name: str, step_count: int, key_count: int) -> LoggedRun:
    """Create a run and log to it as MLflow's client does it."""
    answer = connection.post(
        "/api/2.0/mlflow/runs/create",
        json.dumps({"experiment_id": "0", "run_name": name, "start_time": 1}),
    )
    run = json.loads(answer)["run"]["info"]["run_id"]

    def send(number: int) -> None:
        now = int(time.time() * 1000)
        steps = range(number * step_count, (number + 1) * step_count)
        points = ",".join(
            f'{{"key":"metric_{key}","value":{step * 0.37 + key},'
            f'"timestamp":{now},"step":{step},"run_id":"{run}"}}'
            for step in steps
            for key in range(key_count)
        )
        connection.post(
            "/api/2.0/mlflow/runs/log-batch", f'{{"run_id":"{run}","metrics":[{points}]}}'
        )

    def history(key: int) -> bytes:
        return connection.get(
            f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=metric_{key}"
        )

    return LoggedRun(send, history)


def trackio(connection: Connection, name: str, step_count: int, key_count: int) -> LoggedRun:
    """Log to a new run as Trackio's client does it."""
    id = uuid.uuid4().hex

    def send(number: int) -> None:
        logs = ",".join(
            f'{{"project":"bench","run":"{name}","run_id":"{id}","metrics":{{{values(step)}}},"step":{step},"config":null,'
            f'"log_id":"{uuid.uuid4().hex}"}}'
            for step in range(number * step_count, (number + 1) * step_count)
        )
        connection.post(
            "/api/bulk_log", f'{{"args":[],"kwargs":{{"logs":[{logs}],"hf_token":null}}}}'
        )

    def values(step: int) -> str:
        return ",".join(f'"metric_{key}":{step * 0.37 + key}' for key in range(key_count))

    def history(key: int) -> bytes:
        question = {"project": "bench", "run": name, "run_id": id, "metric_name": f"metric_{key}"}
        body = {"args": [], "kwargs": question}
        return connection.post("/api/get_metric_values", json.dumps(body))

    return LoggedRun(send, history)


PROTOCOLS = {"mlflow": mlflow, "trackio": trackio}


def write(
    protocol: str, address: str, token: str, seconds: float, name: str, start: Any, results: Any
) -> None:
    """One writer: one uncounted request, then as many as possible within `seconds`."""
    durations: list[float] = []
    try:
        send, _ = PROTOCOLS[protocol](Connection(address, token), name, STEPS, KEYS)
        send(0)
        start.wait(TIMEOUT_SECONDS)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            send(len(durations) + 1)
            durations.append(time.perf_counter() - began)
    finally:
        results.put(durations)


def main(protocol: str, address: str, token: str, seconds: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(WRITERS), context.Queue()
    turn = uuid.uuid4().hex[:6]
    arguments = (protocol, address, token, float(seconds))
    writers = [
        context.Process(target=write, args=(*arguments, f"{turn}-{i}", start, results))
        for i in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    durations = sorted(duration for _ in writers for duration in results.get())
    for writer in writers:
        writer.join()
    if any(writer.exitcode for writer in writers):
        raise SystemExit("A writer failed; its output is above.")
    answers = {
        "p50_ms": 1000 * statistics.median(durations),
        "p95_ms": 1000 * durations[int(0.95 * len(durations))],
    }
    print(json.dumps({"points_per_second": len(durations) * POINTS / float(seconds), **answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
