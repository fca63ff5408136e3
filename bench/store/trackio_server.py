"""Trackio's own dashboard server over one run of one key, in the trackers' environment.

python -m bench.store.trackio_server PORT STEPS SPIKE
"""

from __future__ import annotations

import sys

import uvicorn
from trackio.server import build_starlette_app_only
from trackio.sqlite_storage import SQLiteStorage

from bench.store import material

port, steps, spike = map(int, sys.argv[1:])
for start in range(0, steps, 10_000):
    rows = list(material.rows(["loss"], material.single, start, start + 10_000, spike))
    SQLiteStorage.bulk_log(
        "bench", "one", [row["values"] for row in rows], steps=[row["step"] for row in rows]
    )
uvicorn.run(build_starlette_app_only()[0], port=port, log_level="error")
