"""Open pages of a run that record when each number arrives; session keys are read from stdin.

    python -m bench.live.pages ADDRESS RUN STEPS

Prints one JSON object: `delays` in seconds (of every point on every page), `frames` and `bytes`
received, and `whole`, the pages that got every point exactly once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from websockets.asyncio.client import connect

from bench.live.emitter import EMITTED, KEYS

WARM_STEPS = 5
PATIENCE_SECONDS = 60.0


class Page:
    def __init__(self) -> None:
        self.steps: list[float] = []
        self.delays: list[float] = []
        self.frames = self.bytes = 0

    async def follow(
        self, address: str, cookie: str, run: str, last: int, ready: asyncio.Semaphore
    ) -> None:
        headers = {"Cookie": cookie, "Origin": f"http://{address}"}
        # Uncompressed, as the web server sends frames to every page.
        async with connect(
            f"ws://{address}/live/", additional_headers=headers, compression=None, max_size=2**22
        ) as socket:
            await socket.send(
                json.dumps(
                    {
                        "type": "subscribe",
                        "run": run,
                        "keys": [*KEYS, EMITTED],
                        "since": 0,
                        "width": 4000,
                    }
                )
            )
            self.take(await socket.recv())
            ready.release()
            while not self.steps or self.steps[-1] < last:
                self.take(await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS))

    def take(self, text: str | bytes) -> None:
        frame: dict[str, Any] = json.loads(text)
        # After the frame is decoded: a page shows a number no earlier.
        now = time.time()
        self.frames += 1
        self.bytes += len(text)
        for series in frame.get("series", ()):
            if series["key"] == EMITTED:
                self.steps += series["x"]
                self.delays += [
                    now - y for x, y in zip(series["x"], series["y"], strict=True) if x > WARM_STEPS
                ]


async def watch(address: str, run: str, last: int, cookies: list[str]) -> dict[str, Any]:
    ready, pages = asyncio.Semaphore(0), [Page() for _ in cookies]
    tasks = [
        asyncio.create_task(page.follow(address, cookie, run, last, ready))
        for page, cookie in zip(pages, cookies, strict=True)
    ]
    for _ in cookies:
        await ready.acquire()
    print("ready", flush=True)
    await asyncio.gather(*tasks)
    return {
        "delays": [round(delay, 4) for page in pages for delay in page.delays],
        "frames": sum(page.frames for page in pages),
        "bytes": sum(page.bytes for page in pages),
        "whole": sum(page.steps == [float(step) for step in range(1, last + 1)] for page in pages),
    }


if __name__ == "__main__":
    address, run, last = sys.argv[1:]
    report = asyncio.run(watch(address, run, int(last), sys.stdin.read().split("\n")))
    print(json.dumps(report), flush=True)
