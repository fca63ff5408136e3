"""`python -m tests.trainer.verifiers.corpus` writes the table of `docs/verifiers.md` again.

With `--wrong` it also prints every pair that a verifier judges wrongly.
"""

from __future__ import annotations

import sys

from tests.trainer.verifiers import corpus
from tests.trainer.verifiers.corpus import table

if __name__ == "__main__":
    text = table.table()
    table.DOCUMENT.write_text(table.with_table(table.DOCUMENT.read_text(), text))
    print(text, end="")
    if "--wrong" in sys.argv:
        for pair in (pair for kind in corpus.GROUPS for pair in corpus.graded(kind)):
            if pair.verdict.correct is not pair.is_right:
                print(f"{pair.trap}: {pair.completion!r} for {pair.reference!r}, {pair.verdict}")
    corpus.close()
