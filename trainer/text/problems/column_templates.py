"""Several columns in one text: `{instruction}\\n\\n{input}`.

Each `{address}` stands for the value at that address (`addresses`); `{{` and `}}` are braces. A
line whose values are all empty is left out, and so is a paragraph of which no line is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}")
PARAGRAPH_BREAK = re.compile(r"\n(?:[ \t]*\n)+")


def is_template(text: str) -> bool:
    return any(match[1] for match in PLACEHOLDER.finditer(text))


def placeholders(text: str) -> tuple[str, ...]:
    """The addresses in a template, each once."""
    return tuple(
        dict.fromkeys(match[1].strip() for match in PLACEHOLDER.finditer(text) if match[1])
    )


def fill(template: str, text_at: Callable[[str], str]) -> str:
    """The template with the text at each address."""
    text_by_address = {address: text_at(address).strip() for address in placeholders(template)}

    def put(match: re.Match[str]) -> str:
        return text_by_address[match[1].strip()] if match[1] else match[0][0]

    paragraphs = [
        [
            PLACEHOLDER.sub(put, line)
            for line in paragraph.split("\n")
            if not is_template(line) or any(text_by_address[name] for name in placeholders(line))
        ]
        for paragraph in PARAGRAPH_BREAK.split(template.replace("\r\n", "\n"))
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines).strip()
