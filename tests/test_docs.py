"""Documents name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainer.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# The files that the reader of docs/add-a-method.md makes.
MADE_BY_READERS = re.findall(
    r"(?:is|here) `([\w/.]+)`", (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
)
SOURCE = r"(?:trainer|webapp|workers|tests|bench|templates|static|docs)/[\w./-]+"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_link_in_a_document_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    paths = [ROOT / path for path in re.findall(rf"`({SOURCE})`", text)]
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not link.startswith("/")]
    missing = [
        str(path)
        for path in paths
        if not path.exists() and str(path.relative_to(ROOT)) not in MADE_BY_READERS
    ]
    missing += [link for link in links if not (document.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_in_a_document_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    modules = re.findall(r"python -m ((?:trainer|workers|bench|tests)[\w.]*)", text)
    missing = [
        module
        for module in modules
        if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
        and not (ROOT / module.replace(".", "/") / "__main__.py").exists()
    ]

    assert missing == []


def test_the_guide_to_the_engine_lists_every_exit_code_with_its_sentence() -> None:
    text = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+?\.)[ |]", text, re.MULTILINE)

    assert rows == [(str(code.value), code.name, code.sentence) for code in ExitCode]
