"""Every event that a run of a recipe emits is as its declaration says: no other field or type."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.trainer.text.tiny_run import end, events, merged, start
from trainer import recipes
from trainer.events import HEAD
from trainer.events.event_types import EVENT_TYPES, check
from trainer.events.reference import recorded_type
from trainer.events.values import Missing
from trainer.spec import load, to_dict

TRAINER = Path(recipes.__file__).parents[1]


def short(recipe: str) -> dict[str, Any]:
    """Return the recipe's preset for a CPU with two steps per stage and few problems."""
    definition = to_dict(recipes.load(recipe).spec("small"))
    for stage in definition["stages"]:
        stage["until"]["steps"], stage["optimiser"]["warmup_steps"] = 2, 0
    definition["data"]["train"]["count"] = 96
    if definition["data"]["retained"]:
        definition["data"]["retained"]["count"] = 6
    measures = definition["pool"]["estimate"] == "before"
    return merged(
        definition,
        {
            "pool": {"track_problems": 4, "rollouts_per_problem": 4, "measure_snr": measures},
            "evaluation": {"every": 1, "problems": 6, "final_samples": 2, "pass_at": [1, 2]},
            "record": {"every": 1, "rollouts": 4},
            "compute": {"device": "cpu", "threads": 1},
        },
    )


def deviations(part: BaseModel, path: str) -> list[str]:
    """Return the fields that are not declared, and recorded ones of another type."""
    found = [f"{path}.{name} is not declared" for name in part.model_extra or {}]
    for name, field in type(part).model_fields.items():
        value, kind = getattr(part, name), recorded_type(field)
        if kind is not None:
            if value is Missing:
                found.append(f"{path}.{name} is missing")
            elif not _fits(kind, value):
                found.append(f"{path}.{name} is {value!r}")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                found += deviations(item, f"{path}.{name}")
    return found


def _fits(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return value in ("NaN", "Infinity", "-Infinity") and kind is float
    return True


def deviations_of_event(event: dict[str, Any]) -> list[str]:
    fields = {name: event[name] for name in event if name in ("type", "wall_time")}
    fields |= {name: value for name, value in event.items() if name not in HEAD}
    declared = EVENT_TYPES[event["type"]].model_fields
    unknown = [f"{event['type']}.{name} is not declared" for name in fields if name not in declared]
    # `step` is in the head of each declaration, but only some events have one.
    unknown += ["step has no meaning"] * ("step" in event and not declared["step"].description)
    return unknown + deviations(check(fields), event["type"])


@pytest.mark.parametrize("recipe", recipes.names())
def test_the_events_of_a_recipe_are_as_they_are_declared(recipe: str, tmp_path: Path) -> None:
    start(load(short(recipe)), tmp_path)
    assert end(tmp_path)["outcome"] == "completed"
    emitted = events(tmp_path)
    assert {problem for event in emitted for problem in deviations_of_event(event)} == set()
    assert {"environment", "problem_set", "metrics", "rollouts", "evaluation", "calibration"} <= {
        event["type"] for event in emitted
    }


def test_an_undeclared_field_or_another_type_is_found() -> None:
    event = {"type": "checkpoint", "wall_time": 1.0, "step": 3, "folder": "checkpoints/step-3"}
    assert deviations_of_event({**event, "bytes": 7}) == []
    assert deviations_of_event({**event, "bytes": "7"}) == ["checkpoint.bytes is '7'"]
    assert deviations_of_event({**event, "bytes": 7, "size": 7}) != []


def test_every_type_that_the_trainer_emits_is_declared() -> None:
    emitted = {
        node.args[0].value
        for path in TRAINER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "emit"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert emitted == set(EVENT_TYPES)
