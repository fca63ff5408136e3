"""What a definition says in few words, for lists: the models' short names and the number of steps."""

from __future__ import annotations

from typing import Any


def summary_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's summary that its definition knows."""
    networks = spec.get("networks") or {}
    return {role: short_name((networks.get(role) or {}).get("model", "")) for role in ("student", "teacher") if networks.get(role)}


def total_steps(spec: dict[str, Any]) -> int | None:
    """Optimiser steps over all stages; None without stages."""
    return sum(int(stage["until"]["steps"]) for stage in spec.get("stages") or ()) or None


def short_name(uri: str) -> str:
    """`builtin:student` → student, `model:mine@1f2e…` → mine, `hub:org/name@rev` → org/name, `file:/models/tiny` → tiny."""
    scheme, _, rest = uri.partition(":")
    name = rest.partition("@")[0]
    return name.rstrip("/").rpartition("/")[2] if scheme == "file" else name
