"""Read a run definition from YAML, JSON or a dict, and write it as YAML or a dict.

`load` migrates older versions and raises SpecError for an invalid definition; `issues_in` returns
the issues of unfinished input, for a form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from trainer.spec.base import quoted
from trainer.spec.errors import SpecError, SpecIssue, translate
from trainer.spec.run import VERSION, RunSpec

# PyYAML takes about two seconds for a text of this length, and a web page waits for it.
MAX_CHARACTERS = 256 * 1024
# Values that all aliases stand for: ten lines of aliases to aliases can stand for billions.
MAX_ALIASED_VALUES = 20_000


def _add_teacher_kind(data: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 1, which had one kind of teacher: another model."""
    networks = data.get("networks")
    teacher = networks.get("teacher") if isinstance(networks, dict) else None
    if not isinstance(networks, dict) or not isinstance(teacher, dict):
        return data
    return {**data, "networks": {**networks, "teacher": {"kind": "model", **teacher}}}


# The function under n migrates a definition of version n to version n + 1.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _add_teacher_kind}


def load(source: str | Mapping[str, Any]) -> RunSpec:
    """Validate a run definition from YAML or JSON text, or from a dict.

    Raises SpecError with all issues.
    """
    try:
        return RunSpec.model_validate(
            migrate(parse(source) if isinstance(source, str) else dict(source))
        )
    except ValidationError as error:
        raise SpecError(translate(error, RunSpec)) from None


def issues_in(data: Mapping[str, Any]) -> list[SpecIssue]:
    """Return all issues of `data`; empty if it is a valid definition."""
    try:
        load(data)
    except SpecError as error:
        return list(error.issues)
    return []


def to_dict(spec: RunSpec) -> dict[str, Any]:
    """Return the whole definition, with defaults, as JSON values."""
    return spec.model_dump(mode="json")


def to_yaml(spec: RunSpec) -> str:
    return yaml.dump(to_dict(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def migrate(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` in the present version; without a version it is read as version 1.

    Raises SpecError for an unknown version.
    """
    version = data.get("version", 1)
    while isinstance(version, int) and version in MIGRATIONS:
        version += 1
        data = {**MIGRATIONS[version - 1](data), "version": version}
    if version != VERSION:
        raise _error(
            f"is {quoted(version)}, but this program reads version {VERSION}; a newer program may "
            f"have written it",
            "version",
        )
    return data


def parse(text: str) -> dict[str, Any]:
    """Return the mapping in YAML or JSON text. Raises SpecError for anything else."""
    if len(text) > MAX_CHARACTERS:
        raise _error(
            f"The definition has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read."
        )
    try:
        data = (
            json.loads(text, object_pairs_hook=_unique_keys)
            if text.lstrip().startswith("{")
            else _Loader(text).get_single_data()
        )
        # Only to find out whether it can be stored as JSON; what may fail is listed below.
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _error(
            f"The definition is not valid JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}."
        ) from None
    except yaml.YAMLError as error:
        raise _error(f"The definition is not valid YAML: {_cause(error)}.") from None
    except RecursionError:
        raise _error("The definition is nested too deeply.") from None
    except SpecError:
        raise
    except (ValueError, TypeError):
        # Numbers of thousands of digits, lone surrogates, and YAML's binary values and sets.
        raise _error(
            "The definition has a value that is neither text, a number of ordinary size, true or "
            "false."
        ) from None
    if not isinstance(data, dict):
        raise _error(
            "The definition is empty."
            if data is None
            else "The definition must be a mapping of settings, as in `name: my run`."
        )
    return data


class _Loader(yaml.SafeLoader):
    """Safe YAML with the plain values of YAML 1.2.

    There are no dates and no base 60, `1e-3` is a number and `on` a string. A duplicate key is an
    error; PyYAML would silently take the last. Aliases are limited by the values they stand for.
    """

    # Empty, so that SafeLoader's resolvers of YAML 1.1 are not inherited; those of 1.2 are added
    # below.
    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}
        self._aliased = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # The size is known here, before the constructor would build what the aliases stand for.
        alias = self.peek_event() if self.check_event(yaml.events.AliasEvent) else None
        node: yaml.Node | None = super().compose_node(parent, index)
        if alias is not None and node is not None:
            self._aliased += self._size(node)
            if self._aliased > MAX_ALIASED_VALUES:
                raise yaml.constructor.ConstructorError(
                    None, None, "aliases (`*name`) stand for too many values", alias.start_mark
                )
        return node

    def _size(self, node: yaml.Node) -> int:
        """Return the number of values in `node` with aliases expanded.

        A node that contains itself is not complete here; `parse` refuses it.
        """
        # By identity, so that a node that many aliases name is counted through once.
        if id(node) not in self._sizes:
            children = []
            if isinstance(node, yaml.SequenceNode):
                children = node.value
            elif isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            self._sizes[id(node)] = 1 + sum(map(self._size, children))
        return self._sizes[id(node)]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if duplicate := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f"{quoted(duplicate)} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


# (pattern, first characters) of the plain scalars of YAML 1.2's core schema, by tag.
PLAIN_VALUES = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _name, (_pattern, _first) in PLAIN_VALUES.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


class _Dumper(yaml.SafeDumper):
    """Quotes strings that `_Loader` would not read back as the same string.

    These are strings that look like numbers or booleans, and the rare line breaks of Unicode, which
    plain YAML folds into spaces.
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


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise _error(f"The definition gives {quoted(duplicate)} twice.")
    return mapping


def _cause(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    cause = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"{cause} in line {mark.line + 1}, column {mark.column + 1}" if mark else str(cause)


def _error(message: str, path: str = "") -> SpecError:
    return SpecError([SpecIssue(path, message)])
