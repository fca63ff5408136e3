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
from concurrent.futures import Future
from typing import IO, Any

from webapp.api.requests import ApiError
from webapp.clients.client_batch import ClientBatch

MOST_BYTES = 2**30
PIECE = 2**20
# An entry is parsed as a whole, so this and not the length of the body bounds the memory.
LONGEST_ENTRY = 4 * 2**20
# Entries of one commit, and about as many characters of them.
ENTRIES_PER_COMMIT = 2000
CHARACTERS_PER_COMMIT = 2**20
# The Retry-After of a refused backlog.
RETRY_SECONDS = 60
BEGIN = re.compile(r'"logs"\s*:\s*\[')
BETWEEN = re.compile(r"[\s,]*")

Submit = Callable[[Sequence[ClientBatch]], Future[None]]


def take(stream: IO[bytes], understand: Callable[[Any], ClientBatch], submit: Submit) -> None:
    """Commit the entries in `stream`, parsed by `understand`.

    Raises ApiError and what `submit` raises.
    """
    batches: list[ClientBatch] = []
    characters = 0
    for entry, length in entries(stream):
        batches.append(understand(entry))
        characters += length
        if len(batches) == ENTRIES_PER_COMMIT or characters > CHARACTERS_PER_COMMIT:
            submit(batches).result()
            batches, characters = [], 0
    if batches:
        submit(batches).result()


def entries(stream: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """Yield the items of the list `logs` in the JSON of `stream`, each with its characters.

    Raises ApiError for invalid JSON, and for an entry that is too long.
    """
    # Incremental, because a character may be divided between two pieces.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    decoder = json.JSONDecoder()
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
            try:
                entry, end = decoder.raw_decode(text, position)
            except (ValueError, RecursionError):
                # Perhaps the entry continues in the next piece. Invalid JSON is refused once the
                # stream ends or the rest is longer than an entry may be.
                break
            # An entry that ends with the piece, such as a number, may also continue.
            if end == len(text):
                break
            yield entry, end - position
            position = end
        if len(text) - position > LONGEST_ENTRY:
            break
    raise ApiError(
        400,
        "BAD_REQUEST",
        'The list "logs" is not whole JSON, '
        f"or an entry has more than {LONGEST_ENTRY // 2**20} MiB.",
    )
