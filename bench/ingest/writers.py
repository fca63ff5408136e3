"""`python -m bench.ingest.writers PROTOCOL HOST:PORT TOKEN SECONDS`: eight processes, each sending
100 points and waiting for the answer.

Prints one line of JSON: points a second, and the median and 95th percentile of the milliseconds to
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
from typing import Any

WRITERS = 8
STEPS, KEYS = 10, 10
POINTS = STEPS * KEYS
PATIENCE_SECONDS = 120
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Connection:
    """One kept-alive connection of a writer. It speaks just as much HTTP as it takes, so that the
    machine is left to the servers.
    """

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = {
            "Host": address,
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "X-Trackio-Write-Token": token,
        }
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in said.items())

    def post(self, path: str, body: str) -> bytes:
        content = body.encode()
        head = f"POST {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(content)}\r\n\r\n"
        self._socket.sendall(head.encode() + content)
        status, said = self._answer()
        if status != 200:
            raise SystemExit(f"{path}: {status} {said[:300]!r}")
        return said

    def _answer(self) -> tuple[int, bytes]:
        """The status and the body of an answer, of the length that its head announces."""
        taken = b""
        while b"\r\n\r\n" not in taken:
            taken += self._more()
        head, _, body = taken.partition(b"\r\n\r\n")
        announced = LENGTH.search(head)
        if announced is None:
            raise SystemExit("The server does not say how long its answer is.")
        length = int(announced[1])
        while len(body) < length:
            body += self._more()
        return int(head[9:12]), body

    def _more(self) -> bytes:
        found = self._socket.recv(1 << 16)
        if not found:
            raise SystemExit("The server closed a connection.")
        return found


def mlflow(connection: Connection, name: str) -> Callable[[int], None]:
    """Logs batch after batch to a run of its own, as MLflow's client does."""
    made = connection.post(
        "/api/2.0/mlflow/runs/create",
        json.dumps({"experiment_id": "0", "run_name": name, "start_time": 1}),
    )
    run = json.loads(made)["run"]["info"]["run_id"]

    def send(number: int) -> None:
        now = int(time.time() * 1000)
        steps = range(number * STEPS, (number + 1) * STEPS)
        points = ",".join(
            f'{{"key":"metric_{key}","value":{step * 0.37 + key},"timestamp":{now},"step":{step},"run_id":"{run}"}}'
            for step in steps
            for key in range(KEYS)
        )
        connection.post(
            "/api/2.0/mlflow/runs/log-batch", f'{{"run_id":"{run}","metrics":[{points}]}}'
        )

    return send


def trackio(connection: Connection, name: str) -> Callable[[int], None]:
    """Logs batch after batch to a run of its own, as Trackio's client does."""
    id = uuid.uuid4().hex

    def send(number: int) -> None:
        logs = ",".join(
            f'{{"project":"bench","run":"{name}","run_id":"{id}","metrics":{{{values(step)}}},"step":{step},"config":null,'
            f'"log_id":"{uuid.uuid4().hex}"}}'
            for step in range(number * STEPS, (number + 1) * STEPS)
        )
        connection.post(
            "/api/bulk_log", f'{{"args":[],"kwargs":{{"logs":[{logs}],"hf_token":null}}}}'
        )

    def values(step: int) -> str:
        return ",".join(f'"metric_{key}":{step * 0.37 + key}' for key in range(KEYS))

    return send


PROTOCOLS = {"mlflow": mlflow, "trackio": trackio}


def write(
    protocol: str, address: str, token: str, seconds: float, name: str, start: Any, found: Any
) -> None:
    """One writer: after a first request that is not counted, as many as fit into `seconds`."""
    taken: list[float] = []
    try:
        send = PROTOCOLS[protocol](Connection(address, token), name)
        send(0)
        start.wait(PATIENCE_SECONDS)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            send(len(taken) + 1)
            taken.append(time.perf_counter() - began)
    finally:
        found.put(taken)


def main(protocol: str, address: str, token: str, seconds: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(WRITERS), context.Queue()
    turn = uuid.uuid4().hex[:6]
    given = (protocol, address, token, float(seconds))
    writers = [
        context.Process(target=write, args=(*given, f"{turn}-{i}", start, found))
        for i in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    taken = sorted(one for _ in writers for one in found.get())
    for writer in writers:
        writer.join()
    if any(writer.exitcode for writer in writers):
        raise SystemExit("A writer failed; its words are above.")
    answers = {
        "p50_ms": 1000 * statistics.median(taken),
        "p95_ms": 1000 * taken[int(0.95 * len(taken))],
    }
    print(json.dumps({"points_per_second": len(taken) * POINTS / float(seconds), **answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
