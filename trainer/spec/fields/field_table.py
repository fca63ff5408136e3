"""The reference of all settings as Markdown tables, made from the definition itself: `python -m
trainer schema --markdown`.
"""

from __future__ import annotations

from itertools import groupby

from trainer.spec import FieldInfo, fields

INTRODUCTION = """# The run definition

A run is defined in YAML or JSON. Every setting below may be left out unless it is required; `python -m trainer validate FILE` says what is
wrong with a definition, `python -m trainer explain FILE` what it does, and `python -m trainer recipes paced --preset sample` prints one to
start from. `*` stands for each item of a list. Settings marked ◆ are for experts.

This page is made from the definition: `python -m trainer schema --markdown > docs/run-definition.md`.
"""
HEADER = "| setting | what it is | default | allowed |\n|---|---|---|---|\n"
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
    """The whole page."""
    sections = groupby(fields(), key=lambda info: info.group[0] if info.group else "The run")
    return INTRODUCTION + "".join(
        f"\n## {title}\n\n{HEADER}{''.join(map(_row, infos))}" for title, infos in sections
    )


def _row(info: FieldInfo) -> str:
    mark = " ◆" if info.expert else ""
    return f"| `{info.path}`{mark} | {_cell(_about(info))} | {_cell(_default(info))} | {_cell(_allowed(info))} |\n"


def _about(info: FieldInfo) -> str:
    condition = ", ".join(f"{path.rsplit('.', 2)[-2]} {value}" for path, value in info.when)
    alternatives = " ".join(
        f"`{choice.value}`: {choice.help}" for choice in info.choices if choice.help
    )
    paper = f"({info.paper})" if info.paper else ""
    said = " ".join(filter(None, [info.help, alternatives, paper]))
    return f"**{info.title}**{f' (if {condition})' if condition else ''}. {said}"


def _default(info: FieldInfo) -> str:
    if info.required:
        return "required"
    if info.default is None:
        return "none"
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _allowed(info: FieldInfo) -> str:
    words = ", ".join(f"`{choice.value}`" for choice in info.choices)
    bounds = ", ".join(SYMBOLS[name].format(f"{bound:,}") for name, bound in info.bounds.items())
    kind = KINDS.get(info.type, "one of")
    return ", ".join(filter(None, [f"{kind} {words}".strip(), bounds])) + (
        f" ({info.unit})" if info.unit else ""
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
