"""Where a completion marks its answer: GSM8K's `#### 42` and LaTeX's `\\boxed{42}`."""

from __future__ import annotations


def marked(text: str) -> tuple[str, str]:
    """The last mark and the text that it marks.

    For example ("####", " 42") or ("boxed", "42"); ("", text) without a mark.
    """
    hashes, box = text.rfind("####"), text.rfind("\\boxed{")
    if hashes < 0 and box < 0:
        return "", text
    if hashes > box:
        return "####", text[hashes + 4 :].lstrip("#")
    return "boxed", _braced(text[box + len("\\boxed{") :])


def _braced(text: str) -> str:
    """The text up to the matching closing brace; all of it if there is none."""
    depth = 1
    for index, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return text[:index]
    return text
