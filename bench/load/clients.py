"""Viewers, writers and members who upload hostile files, all at once; prints one JSON object.

    python -m bench.load.clients ADDRESS SECONDS < plan.json

The plan on standard input names the `runs` that viewers look at, their `cookies`, the `token` of
the writers, and the cookies of the `uploaders`. The report holds the seconds of every answer by
kind, what failed, and how many points each writer has sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from websockets.asyncio.client import connect

from bench.ingest.writers import KEYS, STEPS, Connection, trackio
from bench.load.hostile_files import HostileFile, hostile_files

WRITERS = 8
# A viewer reads a page this often, a writer sends STEPS × KEYS points this often, in seconds.
PAGE_EVERY, WRITE_EVERY = 20.0, 1.0
TIMEOUT = 60.0


class Report:
    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self.written: dict[str, int] = {}

    async def timed(self, kind: str, call: Any, *arguments: Any) -> None:
        began = time.perf_counter()
        try:
            await asyncio.to_thread(call, *arguments)
        except Exception as error:
            self.failures.append(f"{kind}: {error}")
        self.seconds[kind].append(time.perf_counter() - began)


def read(address: str, path: str, cookie: str) -> None:
    request = urllib.request.Request(f"http://{address}{path}", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        answer.read()


def upload(address: str, cookie: str, file: HostileFile) -> None:
    """Send a file; any answer below 500 is right, because the page says what is wrong with it."""
    secret = "c" * 32
    content = _named(file)
    fields = {**dict(file.options), file.field: content, "csrfmiddlewaretoken": secret}
    request = urllib.request.Request(
        f"http://{address}{file.address}",
        encode_multipart(BOUNDARY, fields),
        {
            "Cookie": f"{cookie}; csrftoken={secret}",
            "Content-Type": MULTIPART_CONTENT,
            "Origin": f"http://{address}",
        },
    )
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 403:
            raise


def _named(file: HostileFile) -> Any:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile(file.name, file.content)


async def view(report: Report, address: str, cookie: str, run: str, end: float) -> None:
    """Follow a run over the live connection, and read pages meanwhile."""
    pages = ["/", f"/runs/{run}/", f"/runs/{run}/series.json?keys=metric_0&width=600", "/data/"]
    headers = {"Cookie": cookie, "Origin": f"http://{address}"}
    async with connect(
        f"ws://{address}/live/", additional_headers=headers, compression=None, max_size=2**22
    ) as socket:
        message = {"type": "subscribe", "run": run, "keys": ["metric_0"], "since": 0, "width": 600}
        await socket.send(json.dumps(message))
        draining = asyncio.create_task(_drain(socket))
        await asyncio.sleep(random.uniform(0, PAGE_EVERY))
        while time.monotonic() < end:
            await report.timed("page", read, address, random.choice(pages), cookie)
            await asyncio.sleep(PAGE_EVERY)
        draining.cancel()


async def _drain(socket: Any) -> None:
    async for _ in socket:
        pass


async def write(report: Report, address: str, token: str, name: str, end: float) -> None:
    send = trackio(Connection(address, token), name, STEPS, KEYS).send
    number = 0
    while time.monotonic() < end:
        began = time.monotonic()
        await report.timed("write", send, number)
        number += 1
        await asyncio.sleep(max(0.0, began + WRITE_EVERY - time.monotonic()))
    report.written[name] = number * STEPS * KEYS


async def send_hostile_files(
    report: Report,
    address: str,
    cookie: str,
    files: Sequence[HostileFile],
    number: int,
    end: float,
) -> None:
    while time.monotonic() < end:
        await report.timed("upload", upload, address, cookie, files[number % len(files)])
        number += 1


async def main(address: str, seconds: float, plan: dict[str, Any]) -> Report:
    files = hostile_files() if plan["uploaders"] else []
    # A thread for each client, so that no answer waits for another one here.
    clients = len(plan["cookies"]) + len(plan["uploaders"]) + WRITERS
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(clients))
    report, end = Report(), time.monotonic() + seconds
    await asyncio.gather(
        *(
            view(report, address, cookie, plan["runs"][number % len(plan["runs"])], end)
            for number, cookie in enumerate(plan["cookies"])
        ),
        *(
            write(report, address, plan["token"], f"{plan['phase']}-{number}", end)
            for number in range(WRITERS)
        ),
        *(
            send_hostile_files(report, address, cookie, files, 3 * number, end)
            for number, cookie in enumerate(plan["uploaders"])
        ),
    )
    return report


if __name__ == "__main__":
    address, seconds = sys.argv[1:]
    result = asyncio.run(main(address, float(seconds), json.load(sys.stdin)))
    print(
        json.dumps(
            {
                "seconds": result.seconds,
                "failures": result.failures,
                "written": result.written,
            }
        ),
        flush=True,
    )
