"""Read a run definition from YAML, JSON or a dict, and write it as YAML or a dict.

`load` migrates older versions and raises SpecError for an invalid definition; `issues_in` returns
the issues of unfinished input, for a form.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from trainer import plain_yaml
from trainer.plain_yaml import MAX_CHARACTERS
from trainer.spec.base import quoted
from trainer.spec.errors import SpecError, SpecIssue, translate
from trainer.spec.run import VERSION, RunSpec


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
    return plain_yaml.dump(to_dict(spec))


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
            else plain_yaml.load(text)
        )
        # Only to find out whether it can be stored as JSON; what may fail is listed below.
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _error(
            f"The definition is not valid JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}."
        ) from None
    except plain_yaml.UnreadableYaml as error:
        raise _error(f"The definition is not valid YAML: {error}.") from None
    except RecursionError:
        raise _error("The definition is nested too deeply.") from None
    except SpecError:
        raise
    except (ValueError, TypeError):
        # Numbers of thousands of digits and lone surrogates in JSON.
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


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        (duplicate, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _error(f"The definition gives {quoted(duplicate)} twice.")
    return mapping


def _error(message: str, path: str = "") -> SpecError:
    return SpecError([SpecIssue(path, message)])
