"""The table of false accepts and false rejects in `docs/verifiers.md`."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.verifiers import corpus
from tests.trainer.verifiers.corpus import Rates

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "verifiers.md"
BEGIN, END = "<!-- rates: begin -->\n", "<!-- rates: end -->\n"


def table() -> str:
    rows = {kind: corpus.rates(kind) for kind in corpus.GROUPS}
    rows["all"] = Rates(*(sum(counts) for counts in zip(*rows.values(), strict=True)))
    lines = [
        "| verifier | right answers | wrong answers | false accepts | false rejects "
        "| could not tell |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {row.right} | {row.wrong} | {_share(row.false_accepts, row.wrong)} "
            f"| {_share(row.false_rejects, row.right)} | {row.open} |"
            for name, row in rows.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def with_table(document: str, text: str) -> str:
    """The document with this table between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f} %)"
