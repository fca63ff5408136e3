"""The words by which free text finds a run, and how Postgres is asked for them.

A run is found by what its words begin with, and by what their parts begin with: a part starts at a
letter or digit behind another sign, so that `kl` finds reverse_kl and `0.5b` finds Qwen2.5-0.5B.
Scripts without spaces have a part at each sign. All words are lexemes of one column with a GIN
index, so that a search reads as many entries as it finds. Postgres' own parser is not used: it
takes names apart as if they were addresses, numbers and file paths. Nor is pg_trgm: the built-in
Postgres does not have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.search import SearchVectorField
from django.db.models import Lookup

from webapp.runs.event_rows import storable
from webapp.runs.models import Run, RunIndex

if TYPE_CHECKING:
    TextLookup = Lookup[str]
else:
    TextLookup = Lookup

# Characters of a word that are compared, and words of a run: a lexeme has 2,046 bytes at most, and
# all of them 1 MiB.
LONGEST_WORD, MOST_WORDS = 60, 4000
# Kana, ideographs and Hangul are written without spaces.
PART = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|(?<![^\W_])[^\W_]+")
# The fields of a run whose words are found; those of its settings are in `RunIndex.text`.
FIELDS = ("name", "notes", "recipe", "public_id")


@SearchVectorField.register_lookup
class Match(TextLookup):
    """`words__match=query(text)`: without Postgres' parser, as this module says."""

    lookup_name = "match"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        words, parameters = self.process_lhs(compiler, connection)
        return f"{words} @@ %s::tsquery", (*parameters, self.rhs)


def write_words(run: Run) -> None:
    """Store the words of a run again, in the transaction that locked it and changed its FIELDS."""
    index = RunIndex.objects.filter(run=run)
    # A run of an earlier version has no row yet: the sweep writes it.
    for text in index.values_list("text", flat=True):
        index.update(words=vector(run, text))


def vector(run: Run, settings: str) -> str:
    """Return the words of a run with this text of settings, as Postgres reads a tsvector."""
    words: dict[str, None] = {}
    for text in (*(getattr(run, name) for name in FIELDS), settings):
        for word in _words(text):
            if len(words) == MOST_WORDS:
                break
            words[word] = None
    return " ".join(map(_quoted, words))


def query(text: str) -> str:
    """Return the tsquery for runs of which a word begins with each word of `text`."""
    return " & ".join(f"{_quoted(word[:LONGEST_WORD])}:*" for word in _lower(text).split())


def is_exact(text: str) -> bool:
    """Return whether the runs that `query` finds have `text` itself."""
    words = _lower(text).split()
    return len(words) == 1 and len(words[0]) <= LONGEST_WORD


def _words(text: str) -> Iterator[str]:
    """Yield what begins at each word and part; and each part alone, which names many runs.

    From the latter Postgres knows how many runs a search is going to find: of parts with all that
    follows, such as the numbered names of runs, each is rare.
    """
    for word in _lower(text).split():
        yield word[:LONGEST_WORD]
        for part in PART.finditer(word):
            yield part[0][:LONGEST_WORD]
            yield word[part.start() : part.start() + LONGEST_WORD]


def _lower(text: str) -> str:
    return str(storable(text)).lower()


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
