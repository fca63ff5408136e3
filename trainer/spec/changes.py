"""Changes to a run definition, as `field.path: value`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from trainer.spec.errors import SpecError, SpecIssue
from trainer.spec.reader import load

Changes = Mapping[str, Any]


def apply_changes(definition: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return the definition with the values at the dotted paths replaced.

    Raises SpecError for a path into a section that does not exist, and what `load` raises for an
    invalid definition.
    """
    result = deepcopy(dict(definition))
    for path, value in changes.items():
        *parents, last = path.split(".")
        section: Any = result
        try:
            for parent in parents:
                section = section[int(parent)] if isinstance(section, list) else section[parent]
            # A setting that does not exist becomes an unknown one, which `load` refuses.
            section[int(last) if isinstance(section, list) else last] = value
        except (KeyError, IndexError, TypeError, ValueError):
            raise SpecError([SpecIssue(path, "is no setting of this definition")]) from None
    return load(result).model_dump(mode="json")
