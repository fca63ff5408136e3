"""Long backlogs of Trackio's client: one request with everything that it could not send for days.

The client repeats the request until it is answered. So the body is kept in a file and read in
pieces; each piece is committed separately, and repeated values count once. A client that timed out
finds most of its backlog recorded when it tries again.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from webapp.api.requests import ApiError
from webapp.clients.client_batch import ClientBatch

MOST_BYTES = 2**30
PIECE = 2**20
# An entry is parsed as a whole, so this and not the length of the body bounds the memory.
LONGEST_ENTRY = 4 * 2**20
# Of an entry, names and punctuation included. A parser holds Python's lock until it has read all.
MOST_VALUES = 100_000
# Entries of one commit, and about as many characters of them.
ENTRIES_PER_COMMIT = 2000
CHARACTERS_PER_COMMIT = 2**20
# The Retry-After of a refused backlog.
RETRY_SECONDS = 60
BEGIN = re.compile(r'"logs"\s*:\s*\[')
BETWEEN = re.compile(r"[\s,]*")
# A string, with its end if that is in the text, or a character between values.
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]', re.DOTALL)
STEPS = {"{": 1, "[": 1, "}": -1, "]": -1}

Store = Callable[[Sequence[ClientBatch]], None]


def take(stream: IO[bytes], understand: Callable[[Any], ClientBatch], store: Store) -> None:
    """Commit the entries in `stream`, parsed by `understand`.

    Raises ApiError and what `store` raises.
    """
    batches: list[ClientBatch] = []
    characters = 0
    for entry, length in entries(stream):
        batches.append(understand(entry))
        characters += length
        if len(batches) == ENTRIES_PER_COMMIT or characters > CHARACTERS_PER_COMMIT:
            store(batches)
            batches, characters = [], 0
    if batches:
        store(batches)


def entries(stream: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """Yield the items of the list `logs` in the JSON of `stream`, each with its characters.

    Raises ApiError for invalid JSON, and for an entry that is too long or has too many values.
    """
    # Incremental, because a character may be divided between two pieces.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    text, position = "", 0
    began = False
    while chunk := stream.read(PIECE):
        text, position = text[position:] + decode(chunk), 0
        if not began:
            begin = BEGIN.search(text)
            began, position = begin is not None, begin.end() if begin else 0
        while began:
            between = BETWEEN.match(text, position)
            position = between.end() if between else position
            if text.startswith("]", position):
                return
            end = _end_of_entry(text, position)
            if end is None:
                break
            try:
                entry = json.loads(text[position:end])
            except (ValueError, RecursionError):
                raise _invalid() from None
            yield entry, end - position
            position = end
        if len(text) - position > LONGEST_ENTRY:
            break
    raise _invalid()


def _end_of_entry(text: str, position: int) -> int | None:
    """Return where the object at `position` ends; None if it continues in the next piece.

    Raises ApiError if it is no object or has too many values. It is measured before it is parsed,
    because a parser holds Python's lock until it has read the whole entry.
    """
    depth = 0
    for count, token in enumerate(TOKEN.finditer(text, position)):
        if count > MOST_VALUES or (count == 0 and token.start() != position):
            raise _invalid()
        if token[1] == "":
            # The string does not end in this piece.
            return None
        depth += STEPS.get(token[0], 0)
        if depth == 0:
            if count == 0:
                raise _invalid()
            return token.end()
    return None


def _invalid() -> ApiError:
    return ApiError(
        400,
        "BAD_REQUEST",
        'The list "logs" is not whole JSON, or an entry has more than '
        f"{LONGEST_ENTRY // 2**20} MiB or {MOST_VALUES:,} values.",
    )
