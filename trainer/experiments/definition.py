"""The definition of an experiment: arms × seeds over a common run definition, and its claims.

There is one YAML file in `definitions/` per experiment; a recipe's main experiment has its name. It
is fixed before its seeds are run. A *claim* is a
contrast: the difference of two sides, signed so that a positive value supports the claim, measured
once per seed. *Gates* are contrasts that must hold before claims are judged. All other contrasts
that were looked at are listed under `explored`.

Imports without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from trainer import plain_yaml, recipes
from trainer.experiments.folders import base_folder
from trainer.spec import load as load_spec
from trainer.spec.base import Section
from trainer.spec.changes import apply_changes

HERE = Path(__file__).parent / "definitions"
At = Literal["end", "equal_compute", "equal_tokens"]
Kind = Literal["higher", "no worse", "equal"]
When = Literal["before", "after"]
# The location of a base by its name and, "" for its folder, the name of one of its files.
Locate = Callable[[str, str], str]


class Arm(Section):
    """One variant: its changes to the common definition, as `field.path: value`."""

    title: str
    changes: dict[str, Any] = Field(default_factory=dict)


class Side(Section):
    """One measurement of an arm: a metric before its first step or after its last one."""

    arm: str
    metric: str
    when: When = "after"


class Contrast(Section):
    """`of` − `minus`, paired by seed; one of them may be a number.

    Its bound says what it claims (`kind`): “higher” than `above` (0 or more), “no worse” than a
    negative `above`, which is the largest loss that does not matter, or “equal” within ±`within`.
    `interest` is the smallest difference above the bound that matters; only “higher” has one. `at`
    is where the arms are compared: at the end (equal steps), or at the largest compute or number of
    tokens at which both were evaluated; see `outcomes` for what is evaluated there.

    With `each_seed` it is judged without a test over seeds: in every planned seed the change of one
    metric of one arm from the untrained student must be above the bound, with its whole 95 %
    interval over problems (`interval`) or as measured (`difference`).
    """

    says: str
    of: Side | float
    minus: Side | float
    above: float = 0.0
    within: float | None = Field(default=None, gt=0)
    interest: float | None = Field(default=None, gt=0)
    at: At = "end"
    each_seed: Literal["interval", "difference"] | None = None

    @model_validator(mode="after")
    def _has_a_bound_of_its_kind(self) -> Contrast:
        if self.within is not None and self.above:
            raise ValueError("has two bounds; give above, or within for “equal”, not both")
        if self.kind == "higher" and self.interest is None:
            raise ValueError(
                "needs interest, the smallest difference that matters, as it claims a difference"
            )
        return self

    @model_validator(mode="after")
    def _is_a_change_if_each_seed_counts(self) -> Contrast:
        if self.each_seed is None:
            return self
        match self.of, self.minus:
            case Side(when="after") as after, Side(when="before") as before:
                is_change = (after.arm, after.metric) == (before.arm, before.metric)
            case _:
                is_change = False
        if not is_change or self.at != "end" or self.kind == "equal":
            raise ValueError(
                "with each_seed it has to be the change of one metric of one arm at the end: the "
                "same arm and metric as `of` and, with `when: before`, as `minus`, and no `within`"
            )
        return self

    @property
    def kind(self) -> Kind:
        """What the contrast claims; it follows from the bound."""
        if self.within is not None:
            return "equal"
        return "no worse" if self.above < 0 else "higher"

    def margin(self, mean: float) -> float:
        """The distance of `mean` to the nearest bound: positive on the side that is claimed."""
        return mean - self.above if self.within is None else self.within - abs(mean)

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in (self.of, self.minus) if isinstance(side, Side))


class Experiment(Section):
    """One experiment. The common definition is a preset of the recipe, or `spec`, with `changes`.

    `seeded` lists the fields that take the seed; `searched` says how the setting was found and on
    which seeds. With `shares_start` the arms are equal before the first step, and the first arm's
    measurement of the untrained student serves all. `cpu_minutes` is what one run took on average
    in the search. Only `reading` is written after the seeds are run: what the verdicts mean
    together, and their limits.
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
    cpu_minutes: float = Field(gt=0)
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
        """The run definition of an arm with a seed.

        `base:<name>` becomes the folder in `bases` of that base made for this seed. Raises what
        `trainer.spec.load` raises for an invalid definition.
        """

        def in_folder(name: str, file: str) -> str:
            folder = base_folder(bases.resolve(), name, seed)
            return f"file:{folder / file if file else folder}"

        return self.located_definition(arm, seed, in_folder)

    def located_definition(self, arm: str, seed: int, locate: Locate) -> dict[str, Any]:
        """The run definition of an arm with a seed, whose bases are where `locate` says.

        Raises as `definition` does.
        """
        common = recipes.load(self.recipe).presets[self.preset].spec if self.preset else self.spec
        # Validated once as a whole, so that the changes find the defaults that the file leaves out.
        common = load_spec({"recipe": self.recipe, **_located(common, locate)}).model_dump(
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
            common, {path: _located(value, locate) for path, value in changes.items()}
        )

    def with_seeds(self, seeds: Sequence[int]) -> Experiment:
        """The same experiment, planned with other seeds."""
        return self.model_copy(update={"seeds": tuple(seeds)})

    @property
    def bases(self) -> list[str]:
        """Names of the bases that the arms need."""
        texts = _texts([self.spec, self.changes, *(arm.changes for arm in self.arms.values())])
        # Behind the slash is a file of the base.
        return sorted({text.removeprefix("base:").partition("/")[0] for text in texts})

    def base_files(self, base: str) -> list[str]:
        """Names of the files of a base that the arms read, beside its model."""
        prefix = f"base:{base}/"
        texts = _texts([self.spec, self.changes, *(arm.changes for arm in self.arms.values())])
        return sorted({text.removeprefix(prefix) for text in texts if text.startswith(prefix)})


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.yaml"))


@cache
def load(name: str) -> Experiment:
    """The experiment of that name. Raises KeyError, which lists the names, if there is none."""
    if name not in names():
        raise KeyError(f"there is no experiment {name}; there is {', '.join(names())}")
    return Experiment.model_validate(
        {"name": name, **plain_yaml.load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))}
    )


def _located(value: Any, locate: Locate) -> Any:
    if isinstance(value, str):
        if not value.startswith("base:"):
            return value
        name, _, file = value.removeprefix("base:").partition("/")
        return locate(name, file)
    if isinstance(value, dict):
        return {key: _located(item, locate) for key, item in value.items()}
    return [_located(item, locate) for item in value] if isinstance(value, list) else value


def _texts(value: Any) -> list[str]:
    """Every text that names a base, anywhere in a value."""
    if isinstance(value, str):
        return [value] if value.startswith("base:") else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item)]
