"""What an endpoint wrote, kept on disk beside the run: a resumed run asks nothing twice, and the
folder is the run's bill.

    RUN_DIR/teacher_cache/<SHA-256 of the request>.json        {"request": …, "text": …,
    "truncated": …, "tokens": …}

A request is its URL and body; the key that opens the endpoint is no part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Asked = Mapping[str, Any]
MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Completion:
    """A text from an endpoint. `tokens` is what the endpoint counted; `truncated` says that it
    stopped at the length limit.
    """

    text: str
    truncated: bool
    tokens: int


@dataclass(frozen=True)
class CompletionCache:
    folder: Path

    def get(self, asked: Asked) -> Completion | None:
        """What was answered; None where nothing was, or where the file is damaged."""
        return _read(self._path(asked))

    def put(self, asked: Asked, completion: Completion) -> None:
        """Keep an answer; the file appears whole or not at all."""
        path = self._path(asked)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(
            json.dumps({"request": asked, **asdict(completion)}, ensure_ascii=False, indent=1),
            "utf-8",
        )
        os.replace(unfinished, path)

    def tokens(self) -> int:
        """Tokens of all answers that were ever given to this run."""
        kept = (_read(path) for path in self.folder.glob("*.json"))
        return sum(completion.tokens for completion in kept if completion is not None)

    def _path(self, asked: Asked) -> Path:
        return (
            self.folder
            / f"{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}.json"
        )


def _read(path: Path) -> Completion | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        return Completion(str(found["text"]), bool(found["truncated"]), counted(found["tokens"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def counted(said: Any) -> int:
    """The tokens that an endpoint says it has written, as 0 … 10⁹, whatever number it says. Raises
    ValueError or TypeError for none.
    """
    number = said if isinstance(said, int) else float(said)
    return int(min(max(0, number), MOST_TOKENS))  # 0 first: it stays where the number is nan
