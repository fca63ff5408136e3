"""Published distillation systems: one YAML file each, with paper, claims and presets.

A recipe adds no code. If a paper has a new mechanism, its code is in the package of that mechanism.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from trainer import plain_yaml
from trainer.spec import RunSpec
from trainer.spec import load as load_spec
from trainer.spec.base import Section

HERE = Path(__file__).parent


class Paper(Section):
    title: str
    arxiv: str
    url: str
    year: int


class Claim(Section):
    """A claim of the paper, with the paper's own figures and where they were read."""

    claim: str
    figures: str
    source: str


class Preset(Section):
    """A run definition to start from, as written in the file (defaults are not filled in)."""

    title: str
    help: str
    spec: dict[str, Any]


class Recipe(Section):
    """One published system.

    `watch` says which chart shows that it works, `left_open` what the paper does not say.
    """

    name: str
    title: str
    paper: Paper
    summary: str
    equation: str
    watch: str
    claims: tuple[Claim, ...] = Field(min_length=1)
    left_open: tuple[str, ...] = ()
    presets: dict[str, Preset] = Field(min_length=1)

    def spec(self, preset: str) -> RunSpec:
        """Return the run definition of a preset. Raises KeyError with the names of all presets."""
        if preset not in self.presets:
            raise KeyError(f"{self.name} has no preset {preset}; it has {', '.join(self.presets)}")
        return load_spec({"recipe": self.name, **self.presets[preset].spec})


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.yaml"))


@cache
def load(name: str) -> Recipe:
    """Return the recipe of that name. Raises KeyError with the names of all recipes."""
    if name not in names():
        raise KeyError(f"there is no recipe {name}; there is {', '.join(names())}")
    return Recipe.model_validate(
        {"name": name, **plain_yaml.load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))}
    )
