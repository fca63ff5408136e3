"""The definition of an experiment: arms × seeds over a common run definition, and its claims.

There is one YAML file in `definitions/` per recipe, fixed before its seeds are run. A *claim* is a
contrast: the difference of two sides, signed so that a positive value supports the claim, measured
once per seed. *Gates* are contrasts that must hold before claims are judged. All other contrasts
that were looked at are listed under `explored`.

Imports without torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from trainer import recipes
from trainer.experiments.arms import apply_changes
from trainer.spec import load as load_spec
from trainer.spec.base import Section

HERE = Path(__file__).parent / "definitions"
At = Literal["end", "equal_compute", "equal_tokens"]


class Arm(Section):
    """One variant: its changes to the common definition, as `field.path: value`."""

    title: str
    changes: dict[str, Any] = Field(default_factory=dict)


class Side(Section):
    """One measurement of an arm: a metric before its first step or after its last one."""

    arm: str
    metric: str
    when: Literal["before", "after"] = "after"


class Contrast(Section):
    """`of` − `minus`, paired by seed; one of them may be a number.

    The contrast holds if its interval is above `above`: 0 for “is higher”, a negative bound for “is
    at most that much lower”. `interest` is the smallest difference that matters. `at` is where the
    arms are compared: at the end (equal steps), or at the largest compute or number of tokens that
    both have spent.
    """

    says: str
    of: Side | float
    minus: Side | float
    above: float = 0.0
    interest: float = Field(gt=0)
    at: At = "end"

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in (self.of, self.minus) if isinstance(side, Side))


class Experiment(Section):
    """One experiment. The common definition is a preset of the recipe, or `spec`, with `changes`.

    `seeded` lists the fields that take the seed; `searched` says how the setting was found and on
    which seeds. With `shares_start` the arms are equal before the first step, and the first arm's
    measurement of the untrained student serves all. Only `reading` is written after the seeds are
    run: what the verdicts mean together, and their limits.
    """

    name: str
    recipe: str
    title: str
    about: str
    searched: str
    preset: str | None = None
    spec: dict[str, Any] | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    seeded: tuple[str, ...] = ("seed",)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    shares_start: bool = False
    arms: dict[str, Arm] = Field(min_length=1)
    gates: tuple[Contrast, ...] = ()
    claims: tuple[Contrast, ...] = Field(min_length=1)
    explored: tuple[Contrast, ...] = ()
    watched: tuple[str, ...] = Field(
        min_length=1, description="Metrics that the report lists for every arm."
    )
    curve: str = Field(description="Metric drawn over tokens.")
    reading: str = ""

    @model_validator(mode="after")
    def _has_one_common_definition(self) -> Experiment:
        if (self.preset is None) == (self.spec is None):
            raise ValueError(
                "needs exactly one of preset and spec as the common definition of its arms"
            )
        return self

    @model_validator(mode="after")
    def _names_its_arms(self) -> Experiment:
        compared_arms = [side.arm for contrast in self.contrasts for side in contrast.sides]
        if unknown := next((arm for arm in compared_arms if arm not in self.arms), None):
            raise ValueError(
                f"compares the unknown arm {unknown}; its arms are {', '.join(self.arms)}"
            )
        return self

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        return (*self.gates, *self.claims, *self.explored)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that the results hold."""
        compared = [side.metric for contrast in self.contrasts for side in contrast.sides]
        return tuple(dict.fromkeys([*self.watched, self.curve, *compared]))

    def definition(self, arm: str, seed: int, bases: Path) -> dict[str, Any]:
        """The run definition of an arm with a seed; `base:<name>` becomes a folder in `bases`.

        Raises what `trainer.spec.load` raises for an invalid definition.
        """
        common = recipes.load(self.recipe).presets[self.preset].spec if self.preset else self.spec
        # Validated once as a whole, so that the changes find the defaults that the file leaves out.
        common = load_spec({"recipe": self.recipe, **_resolved(common, bases)}).model_dump(
            mode="json"
        )
        # Changes of the arm over those of the experiment, the seed over both: an arm cannot fix it.
        name = f"{self.arms[arm].title}, seed {seed}"
        changes = {
            **self.changes,
            **self.arms[arm].changes,
            **dict.fromkeys(self.seeded, seed),
            # The definition's bound on names.
            "name": name[:120],
        }
        return apply_changes(
            common, {path: _resolved(value, bases) for path, value in changes.items()}
        )

    @property
    def bases(self) -> list[str]:
        """Names of the bases that the arms need."""
        texts = _texts([self.spec, self.changes, *(arm.changes for arm in self.arms.values())])
        # Behind the slash is a file of the base.
        return sorted({text.removeprefix("base:").partition("/")[0] for text in texts})


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.yaml"))


@cache
def load(name: str) -> Experiment:
    """The experiment of that name. Raises KeyError, which lists the names, if there is none."""
    if name not in names():
        raise KeyError(f"there is no experiment {name}; there is {', '.join(names())}")
    return Experiment.model_validate(
        {"name": name, **yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))}
    )


def _resolved(value: Any, bases: Path) -> Any:
    if isinstance(value, str):
        return (
            f"file:{bases.resolve() / value.removeprefix('base:')}"
            if value.startswith("base:")
            else value
        )
    if isinstance(value, dict):
        return {key: _resolved(item, bases) for key, item in value.items()}
    return [_resolved(item, bases) for item in value] if isinstance(value, list) else value


def _texts(value: Any) -> list[str]:
    """Every text that names a base, anywhere in a value."""
    if isinstance(value, str):
        return [value] if value.startswith("base:") else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item)]
