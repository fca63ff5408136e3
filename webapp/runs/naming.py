"""Short texts about a definition for lists: names of its models, number of steps."""

from __future__ import annotations

from typing import Any


def summary_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a run's summary that follows from its definition: names by role."""
    networks = spec.get("networks")
    # A client may log a parameter of that name, with any value.
    if not isinstance(networks, dict):
        return {}
    return {
        role: network_name(network)
        for role in ("student", "teacher")
        if (network := networks.get(role)) and isinstance(network, dict)
    }


def network_name(network: dict[str, Any]) -> str:
    """Return the display name of a student or a teacher of any kind."""
    match network.get("kind", "model"):
        case "self":
            return f"itself ({str(network.get('weights', 'initial')).replace('_', ' ')})"
        case "texts":
            return short_name(str(network.get("path", "")))
        case "endpoint" | "served":
            return str(network.get("model", ""))
    return short_name(str(network.get("model", "")))


def total_steps(spec: dict[str, Any]) -> int | None:
    """Return the number of optimiser steps over all stages; None without stages."""
    return sum(int(stage["until"]["steps"]) for stage in spec.get("stages") or ()) or None


def short_name(uri: str) -> str:
    """Return the name in a model URI, without its scheme and revision.

    `builtin:student` → student, `model:mine@1f2e…` → mine, `hub:org/name@rev` → org/name,
    `file:/models/tiny` → tiny.
    """
    scheme, _, target = uri.partition(":")
    name = target.partition("@")[0]
    return name.rstrip("/").rpartition("/")[2] if scheme == "file" else name
