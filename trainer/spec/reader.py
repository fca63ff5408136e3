"""Read a run definition from YAML, JSON or a dict, and write it again.

`load` migrates older versions and refuses what cannot run; `issues_in` says all that is wrong
with unfinished input, for a form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from trainer.spec.base import shown
from trainer.spec.errors import SpecError, SpecIssue, translate
from trainer.spec.run import VERSION, RunSpec

LONGEST = 256 * 1024
MOST_ALIASED = 20_000


def _name_the_kind_of_teacher(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew one kind of teacher, another model."""
    networks = data.get("networks")
    teacher = networks.get("teacher") if isinstance(networks, dict) else None
    if not isinstance(networks, dict) or not isinstance(teacher, dict):
        return data
    return {**data, "networks": {**networks, "teacher": {"kind": "model", **teacher}}}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _name_the_kind_of_teacher}
"""What turns a definition of version n into one of version n + 1, by n."""


def load(source: str | Mapping[str, Any]) -> RunSpec:
    """The validated definition in YAML or JSON text, or in a dict. Raises SpecError with every
    complaint.
    """
    data = parse(source) if isinstance(source, str) else dict(source)
    try:
        return RunSpec.model_validate(migrate(data))
    except ValidationError as error:
        raise SpecError(translate(error, RunSpec)) from None


def issues_in(data: Mapping[str, Any]) -> list[SpecIssue]:
    """Every complaint about `data`; empty if it can run."""
    try:
        load(data)
    except SpecError as error:
        return list(error.issues)
    return []


def to_dict(spec: RunSpec) -> dict[str, Any]:
    """The whole definition, defaults included, as JSON values."""
    return spec.model_dump(mode="json")


def to_yaml(spec: RunSpec) -> str:
    return yaml.dump(to_dict(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def migrate(data: dict[str, Any]) -> dict[str, Any]:
    """`data` in today's version; one that names none is read as the first. Raises SpecError for a
    version that nothing here can read.
    """
    version = data.get("version", 1)
    while isinstance(version, int) and version in MIGRATIONS:
        version += 1
        data = {**MIGRATIONS[version - 1](data), "version": version}
    if version != VERSION:
        raise _refusal(
            f"is {shown(version)}, but this program reads version {VERSION}; was it written by a newer one?",
            "version",
        )
    return data


def parse(text: str) -> dict[str, Any]:
    """The mapping in YAML or JSON text. Raises SpecError for anything else."""
    if len(text) > LONGEST:
        raise _refusal(
            f"The definition has {len(text):,} characters; at most {LONGEST:,} are read."
        )
    try:
        data = (
            json.loads(text, object_pairs_hook=_pairs)
            if text.lstrip().startswith("{")
            else _Loader(text).get_single_data()
        )
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _refusal(
            f"The definition is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except yaml.YAMLError as error:
        raise _refusal(f"The definition is not valid YAML: {_where(error)}.") from None
    except RecursionError:
        raise _refusal("The definition is nested too deeply.") from None
    except SpecError:
        raise
    except (
        ValueError,
        TypeError,
    ):  # numbers of thousands of digits, halves of characters, YAML's binary values and sets
        raise _refusal(
            "The definition holds a value that is neither text, a number of ordinary size, true or false."
        ) from None
    if not isinstance(data, dict):
        raise _refusal(
            "The definition is empty."
            if data is None
            else "The definition must be settings with names, as in `name: my run`."
        )
    return data


class _Loader(yaml.SafeLoader):
    """Safe YAML with the plain values of YAML 1.2: no dates, no base 60, `1e-3` is a number and
    `on` a word.

    A key given twice is an error, not a silent choice of the last. Aliases count as what they stand
    for: ten lines of them can stand for billions of values.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}
        self._aliased = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.events.AliasEvent) else None
        node: yaml.Node | None = super().compose_node(parent, index)
        if alias is not None and node is not None:
            self._aliased += self._size(node)
            if self._aliased > MOST_ALIASED:
                raise yaml.constructor.ConstructorError(
                    None, None, "aliases (`*name`) stand for too many values", alias.start_mark
                )
        return node

    def _size(self, node: yaml.Node) -> int:
        """Values in `node`, aliases written out. A node that holds itself is not complete here;
        `parse` refuses it.
        """
        if id(node) not in self._sizes:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            inner = (
                node.value
                if isinstance(node, yaml.SequenceNode)
                else [part for pair in pairs for part in pair]
            )
            self._sizes[id(node)] = 1 + sum(map(self._size, inner))
        return self._sizes[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(twice)} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


PLAIN_VALUES = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _name, (_pattern, _first) in PLAIN_VALUES.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


class _Dumper(yaml.SafeDumper):
    """Quotes the rare line breaks of Unicode, which plain YAML would fold into spaces, and whatever
    `_Loader` takes for no text.
    """

    yaml_implicit_resolvers = {
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if set(data) & set("\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        twice = next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1)
        raise _refusal(f"The definition gives {shown(twice)} twice.")
    return mapping


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = (
        getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    )
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}" if mark else str(problem)


def _refusal(message: str, path: str = "") -> SpecError:
    return SpecError([SpecIssue(path, message)])
