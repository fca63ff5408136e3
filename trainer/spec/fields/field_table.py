"""The reference of all settings as Markdown tables: `python -m trainer schema --markdown`."""

from __future__ import annotations

from itertools import groupby

from trainer.spec import FieldInfo, fields

INTRODUCTION = """# The run definition

A run is defined in YAML or JSON. A setting that is not required may be left out.
`python -m trainer validate FILE` lists the issues of a definition, `python -m trainer explain FILE`
describes what it does, and `python -m trainer recipes paced --preset sample` prints one to start
from. `*` stands for each item of a list. Settings marked ◆ are for experts.

This page is generated: `python -m trainer schema --markdown > docs/run-definition.md`.
"""
HEADER = "| setting | description | default | allowed |\n|---|---|---|---|\n"
SYMBOLS = {
    "ge": "≥ {}",
    "gt": "> {}",
    "le": "≤ {}",
    "lt": "< {}",
    "min_length": "length ≥ {}",
    "max_length": "length ≤ {}",
}
LISTS = {"integers": "list of whole numbers", "choices": "list"}
KINDS = {
    "integer": "whole number",
    "number": "number",
    "text": "text",
    "boolean": "true or false",
    **LISTS,
}


def markdown() -> str:
    """Return the whole page."""
    sections = groupby(fields(), key=lambda info: info.group[0] if info.group else "The run")
    return INTRODUCTION + "".join(
        f"\n## {title}\n\n{HEADER}{''.join(map(_row, infos))}" for title, infos in sections
    )


def _row(info: FieldInfo) -> str:
    mark = " ◆" if info.expert else ""
    # A line break or a bar in a text would end the cell.
    cells = " | ".join(
        " ".join(text.split()).replace("|", "\\|")
        for text in (_description(info), _default(info), _allowed(info))
    )
    return f"| `{info.path}`{mark} | {cells} |\n"


def _description(info: FieldInfo) -> str:
    condition = ", ".join(f"{path.rsplit('.', 2)[-2]} {value}" for path, value in info.when)
    alternatives = " ".join(
        f"`{choice.value}`: {choice.help}" for choice in info.choices if choice.help
    )
    paper = f"({info.paper})" if info.paper else ""
    text = " ".join(filter(None, [info.help, alternatives, paper]))
    return f"**{info.title}**{f' (if {condition})' if condition else ''}. {text}"


def _default(info: FieldInfo) -> str:
    if info.required:
        return "required"
    if info.default is None:
        return "none"
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _allowed(info: FieldInfo) -> str:
    values = ", ".join(f"`{choice.value}`" for choice in info.choices)
    bounds = ", ".join(SYMBOLS[name].format(f"{bound:,}") for name, bound in info.bounds.items())
    kind = KINDS.get(info.type, "one of")
    return ", ".join(filter(None, [f"{kind} {values}".strip(), bounds])) + (
        f" ({info.unit})" if info.unit else ""
    )
