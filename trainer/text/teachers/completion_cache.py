"""Completions of an endpoint, cached on disk beside the run.

A resumed run repeats no request, and the folder is the record of what the run has to pay:

    RUN_DIR/teacher_cache/<SHA-256 of the request>.json
    {"request": …, "text": …, "truncated": …, "tokens": …, "reasoning": …}

A request is its URL and body; it does not include the endpoint's key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

CompletionRequest = Mapping[str, Any]
# An endpoint can report any number; costs must stay finite.
MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Completion:
    """A text from an endpoint.

    `tokens` is the endpoint's own count; `truncated` means that it stopped at the length limit,
    possibly before the answer began. `reasoning` is what the endpoint returns beside the answer.
    `set_aside` says why there is no answer; such completions are not cached.
    """

    text: str
    truncated: bool
    tokens: int
    reasoning: str = ""
    set_aside: str = ""

    def written(self, reasoning: Literal["leave_out", "think_tags"]) -> str:
        """Return the text to learn from, with the reasoning in front of it if that is chosen."""
        if reasoning == "leave_out" or not self.reasoning:
            return self.text
        # A model that is cut while it thinks has not closed its tag.
        if self.truncated and not self.text:
            return f"<think>\n{self.reasoning}"
        return f"<think>\n{self.reasoning}\n</think>\n\n{self.text}"


@dataclass(frozen=True)
class CompletionCache:
    folder: Path

    def get(self, request: CompletionRequest) -> Completion | None:
        """The cached completion; None where there is none, or where its file is damaged."""
        return _read(self._path(request))

    def put(self, request: CompletionRequest, completion: Completion) -> None:
        """Write a completion; its file appears complete or not at all."""
        path = self._path(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The process id keeps two processes that ask the same from writing one temporary file.
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        content = {"request": request, **asdict(completion)}
        del content["set_aside"]
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
        # A reader sees no file or the complete one.
        os.replace(temporary, path)

    def tokens(self) -> int:
        """Tokens of all completions that this run has received."""
        completions = (_read(path) for path in self.folder.glob("*.json"))
        return sum(completion.tokens for completion in completions if completion is not None)

    def _path(self, request: CompletionRequest) -> Path:
        # Sorted: a request read back from JSON or built in another order must have the same name.
        content = json.dumps(request, sort_keys=True).encode()
        return self.folder / f"{hashlib.sha256(content).hexdigest()}.json"


def _read(path: Path) -> Completion | None:
    try:
        content = json.loads(path.read_text("utf-8"))
        return Completion(
            str(content["text"]),
            bool(content["truncated"]),
            clamped_tokens(content["tokens"]),
            # Files of older versions have none.
            str(content.get("reasoning", "")),
        )
    # A damaged file is asked for again, which costs one request instead of the run.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clamped_tokens(token_count: Any) -> int:
    """The token count reported by an endpoint, limited to 0 … 10⁹.

    Raises ValueError or TypeError if it is not a number.
    """
    number = token_count if isinstance(token_count, int) else float(token_count)
    # 0 is the first argument: `max` returns it where the number is NaN.
    return int(min(max(0, number), MOST_TOKENS))
