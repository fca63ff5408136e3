"""Questions about a definition, so that a page shows only charts and panels that will have data.

A definition is JSON as it was stored, possibly of an older version: every key may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Definition = Mapping[str, Any]

# The name of a specialist in keys of metrics, as `trainer.text.training.teacher_metrics` makes it.
UNSAFE, LONGEST_NAME = re.compile(r"[^\w.+-]+"), 60

# Replaces the definition of a run that has none, which is an imported one.
DEFAULT_DEFINITION: Definition = {
    "data": {"retained": {"kind": "arithmetic"}},
    "stages": [{}],
}


def any_run(spec: Definition) -> bool:
    return True


def estimates_pass_rates(spec: Definition) -> bool:
    return bool(spec.get("pool", {}).get("estimate", "before") == "before")


def states_confidence(spec: Definition) -> bool:
    return bool(spec.get("data", {}).get("confidence", {}).get("kind") == "stated")


def selects_tokens(spec: Definition) -> bool:
    return any(stage.get("tokens", {}).get("kind") == "selected" for stage in _stages(spec))


def is_privileged(spec: Definition) -> bool:
    return bool(
        spec.get("networks", {}).get("teacher", {}).get("context", {}).get("kind") == "privileged"
    )


def served_teachers(spec: Definition) -> list[str]:
    """Return the names of the teachers on servers, as the trainer's metrics have them."""
    networks = spec.get("networks", {})
    teachers = {
        "main": networks.get("teacher", {}),
        **{
            UNSAFE.sub("_", "+".join(specialist.get("domains", ())))[:LONGEST_NAME]: specialist.get(
                "teacher", {}
            )
            for specialist in networks.get("specialists", ())
        },
    }
    return [name for name, teacher in teachers.items() if teacher.get("kind") == "served"]


def retains(spec: Definition) -> bool:
    return bool(spec.get("data", {}).get("retained"))


def trains_on_judged_answers(spec: Definition) -> bool:
    """Whether it trains on answers of the student, and a verifier alone judges them."""
    return not votes(spec) and any(
        stage.get("source", "student_rollouts") == "student_rollouts" for stage in _stages(spec)
    )


def votes(spec: Definition) -> bool:
    """Whether the most common answer to a problem counts as right in some stage."""
    return any(
        stage.get("rollouts", {}).get("filter", {}).get("kind") == "vote" for stage in _stages(spec)
    )


def compares_distributions(spec: Definition) -> bool:
    return any(
        objective.get("kind") not in ("grpo", "cross_entropy", "dpo")
        for objective in _objectives(spec)
    )


def clips(spec: Definition) -> bool:
    return any(objective.get("clip", {}).get("kind") == "clip" for objective in _objectives(spec))


def has_advantages(spec: Definition) -> bool:
    return any(objective.get("kind") == "grpo" for objective in _objectives(spec))


def trains_on_evaluation(spec: Definition) -> bool:
    """Whether its evaluation problems are those that it trains on: a test-time cohort."""
    data = spec.get("data")
    # A client may log parameters of these names, with any values.
    evaluation = data.get("evaluation") if isinstance(data, Mapping) else None
    return isinstance(evaluation, Mapping) and evaluation.get("kind") == "cohort"


def learns_from_pairs(spec: Definition) -> bool:
    return any(stage.get("source") == "pairs" for stage in _stages(spec))


def decides_about_rollouts(spec: Definition) -> bool:
    plain = {"generate": "plain", "control": "fixed", "replay": "none"}
    return any(
        stage.get("rollouts", {}).get(role, {}).get("kind", kind) != kind
        for stage in _stages(spec)
        for role, kind in plain.items()
    )


def has_several_updates(spec: Definition) -> bool:
    return any(
        stage.get(name, 1) > 1
        for stage in _stages(spec)
        for name in ("inner_epochs", "minibatches")
    )


def _objectives(spec: Definition) -> Iterator[Definition]:
    return (stage.get("objective", {}) for stage in _stages(spec))


def _stages(spec: Definition) -> Iterator[Definition]:
    return iter(spec.get("stages", ()))


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as (path, text). A list of sections is walked; a list of values is a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, inner in enumerate(value):
            yield from flatten(inner, f"{path}.{index}")
    elif value is not None:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
