"""The fingerprint of what a preflight's answer depends on.

Uploads are named by their content, so their names are enough. A file or folder on the server counts
with the sizes and times of its files, as it may change under its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.spec import RunSpec, to_dict
from webapp.library import locations
from webapp.library.locations import LocationError

# Raised when the checks answer differently, so that stored answers are not used any more.
VERSION = 1
MOST_FILES = 1000


def fingerprint_of(spec: RunSpec) -> str:
    """Return a SHA-256; definitions with the same one have the same preflight."""
    relevant = relevant_settings(spec)
    files = [list(_state_of(path)) for path in _server_paths(relevant)]
    content = json.dumps([VERSION, relevant, files], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def relevant_settings(spec: RunSpec) -> dict[str, Any]:
    """Return the settings that the checks read; others, such as the steps, change no answer."""
    whole = to_dict(spec)
    return {
        "networks": whole["networks"],
        "data": whole["data"],
        "longest": [
            whole[section]["sampling"]["max_new_tokens"] for section in ("pool", "evaluation")
        ],
        "stages": [
            {
                "name": stage["name"],
                "source": stage["source"],
                "objective": stage["objective"],
                "filter": stage["rollouts"]["filter"],
                "longest": stage["rollouts"]["generate"]["sampling"]["max_new_tokens"],
            }
            for stage in whole["stages"]
        ],
    }


def _server_paths(value: Any) -> Iterator[Path]:
    """Yield the paths that `file:` locations anywhere in the settings name."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _server_paths(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _server_paths(item)
    elif isinstance(value, str) and value.startswith("file:"):
        try:
            yield locations.allowed_path(value.removeprefix("file:"))
        except LocationError:
            # Reported beside its field.
            return


def _state_of(path: Path) -> Iterator[tuple[str, int, int]]:
    files = islice(path.rglob("*"), MOST_FILES) if path.is_dir() else iter([path])
    for file in sorted(files):
        try:
            status = file.stat()
        except OSError:
            continue
        yield str(file), status.st_size, status.st_mtime_ns
