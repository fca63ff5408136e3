"""The targets by name. Each has a module with its seeds, its grammar and the call of the program.

A module is imported after Django is set up, because it imports models.
"""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.inputs import Target

MODULES = {
    "data-files": "data_files",
    "event-logs": "event_logs",
    "filter": "filters",
    "imports": "imports",
    "search": "searches",
    "yaml": "yaml_texts",
}
WITHOUT_DATABASE = {"data-files"}


def load(name: str) -> Target:
    """The target of that name."""
    target: Target = import_module(f"tests.fuzz.targets.{MODULES[name]}").TARGET
    return target
