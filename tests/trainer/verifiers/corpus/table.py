"""The table of false accepts and false rejects in `docs/verifiers.md`."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.verifiers import corpus
from tests.trainer.verifiers.corpus import Rates

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "verifiers.md"
# The fifth round as it was first judged, before anything was fixed on it.
FRESH = {
    "numeric": Rates(47, 74, 5, 3, 0),
    "choice": Rates(66, 63, 9, 4, 0),
    "math": Rates(55, 83, 2, 1, 0),
}
BEGIN, END = "<!-- rates: begin -->\n", "<!-- rates: end -->\n"


def table() -> str:
    rows = {kind: corpus.rates(kind) for kind in corpus.GROUPS}
    lines = [
        "| verifier | right answers | wrong answers | false accepts | false rejects "
        "| could not tell | false accepts, fresh | false rejects, fresh |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_line(kind, row, FRESH.get(kind)) for kind, row in rows.items()),
        _line("all", _sum(rows), _sum(FRESH)),
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, seen: Rates, fresh: Rates | None) -> str:
    fresh_cells = (
        f"{_share(fresh.false_accepts, fresh.wrong)} | {_share(fresh.false_rejects, fresh.right)}"
        if fresh
        else "– | –"
    )
    return (
        f"| {name} | {seen.right} | {seen.wrong} | {_share(seen.false_accepts, seen.wrong)} "
        f"| {_share(seen.false_rejects, seen.right)} | {seen.open} | {fresh_cells} |"
    )


def _sum(rows: dict[str, Rates]) -> Rates:
    return Rates(*(sum(counts) for counts in zip(*rows.values(), strict=True)))


def with_table(document: str, text: str) -> str:
    """The document with this table between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f} %)"
