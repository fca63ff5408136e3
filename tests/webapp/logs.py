"""Events as a trainer writes them, in few words."""

from __future__ import annotations

from typing import Any

NOON = 1_760_000_000.0


def event(seq: int, type: str, **fields: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "attempt": 1,
        "seq": seq,
        "wall_time": NOON + seq,
        "monotonic": float(seq),
        "type": type,
        **fields,
    }


def metrics(seq: int, step: int, stage: str = "forward", **values: Any) -> dict[str, Any]:
    """A `metrics` event; `loss=1.0` or `**{"eval/pass_rate": 0.5}`."""
    return event(
        seq, "metrics", step=step, stage=stage, tokens=100 * step, compute=1e9 * step, values=values
    )


def losses(first: int, last: int, seq: int = 1) -> list[dict[str, Any]]:
    """One loss for each step from `first` to `last`; its value tells the step."""
    return [metrics(seq + step - first, step, loss=float(step)) for step in range(first, last + 1)]
