"""What a definition says in few words, for lists: the models' short names and the number of
steps.
"""

from __future__ import annotations

from typing import Any


def summary_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's summary that its definition knows."""
    networks = spec.get("networks") or {}
    return {
        role: network_name(networks[role]) for role in ("student", "teacher") if networks.get(role)
    }


def network_name(network: dict[str, Any]) -> str:
    """What a student or a teacher of any kind is called."""
    match network.get("kind", "model"):
        case "self":
            return f"itself ({str(network.get('weights', 'initial')).replace('_', ' ')})"
        case "texts":
            return short_name(network.get("path", ""))
        case "endpoint":
            return str(network.get("model", ""))
    return short_name(network.get("model", ""))


def total_steps(spec: dict[str, Any]) -> int | None:
    """Optimiser steps over all stages; None without stages."""
    return sum(int(stage["until"]["steps"]) for stage in spec.get("stages") or ()) or None


def short_name(uri: str) -> str:
    """`builtin:student` → student, `model:mine@1f2e…` → mine, `hub:org/name@rev` → org/name,
    `file:/models/tiny` → tiny.
    """
    scheme, _, target = uri.partition(":")
    name = target.partition("@")[0]
    return name.rstrip("/").rpartition("/")[2] if scheme == "file" else name
