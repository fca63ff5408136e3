"""Where a completion marks its answer: GSM8K's `#### 42` and LaTeX's `\\boxed{42}`."""

from __future__ import annotations


def marked(text: str) -> tuple[str, str]:
    """The last mark in the text and what it marks: ("####", " 42"), ("boxed", "42"), or ("", text)
    if nothing is marked.
    """
    hashes, box = text.rfind("####"), text.rfind("\\boxed{")
    if hashes < 0 and box < 0:
        return "", text
    if hashes > box:
        return "####", text[hashes + 4 :].lstrip("#")
    return "boxed", _braced(text[box + len("\\boxed{") :])


def _braced(text: str) -> str:
    """Text up to the brace that closes the one just opened; all of it if none does."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return text[:place]
    return text
