"""What the tree must not contain: text run as a program, and markup that the CSP would block."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainer", "webapp", "workers", "bench", "tests")
LONGEST_FILE = 500
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pytest.skip",
    "pytest.xfail",
}
UNSAFE_FLAGS = ("shell", "trust_remote_code", "allow_pickle")


def python_files() -> list[Path]:
    return [
        ROOT / "manage.py",
        *(file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))),
    ]


@cache
def parsed(file: Path) -> ast.Module:
    """Each rule looks at every file, and parsing takes longest."""
    return ast.parse(file.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with its dotted name, `torch.load` for `torch.load(path)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def flag(call: ast.Call, name: str) -> object:
    """Return the constant value of a keyword; None if it is missing or not a constant."""
    return next(
        (
            keyword.value.value
            for keyword in call.keywords
            if keyword.arg == name and isinstance(keyword.value, ast.Constant)
        ),
        None,
    )


def unsafe_imports(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] in UNSAFE_MODULES for name in names):
            yield node.lineno  # type: ignore[attr-defined]


def unsafe_calls(tree: ast.AST) -> Iterator[int]:
    yield from (call.lineno for name, call in calls(tree) if name in UNSAFE_CALLS)


def unsafe_flags(tree: ast.AST) -> Iterator[int]:
    yield from (
        call.lineno
        for _, call in calls(tree)
        if any(flag(call, name) is True for name in UNSAFE_FLAGS)
    )


def pickled_weights(tree: ast.AST) -> Iterator[int]:
    yield from (
        call.lineno
        for name, call in calls(tree)
        if name == "torch.load" and flag(call, "weights_only") is not True
    )


def yaml_modules(tree: ast.AST) -> Iterator[int]:
    """PyYAML itself: `trainer.plain_yaml` reads with limits and makes plain values."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] in ("yaml", "_yaml", "ruamel") for name in names):
            yield node.lineno  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", [unsafe_imports, unsafe_calls, unsafe_flags, pickled_weights])
def test_no_text_is_run_as_a_program(rule: Callable[[ast.AST], Iterator[int]]) -> None:
    violations = [
        f"{file.relative_to(ROOT)}:{line}" for file in python_files() for line in rule(parsed(file))
    ]

    assert violations == []


def test_yaml_is_read_and_written_in_one_place() -> None:
    files = [file for file in python_files() if ROOT / "tests" not in file.parents]
    users = [
        str(file.relative_to(ROOT))
        for file in files
        if [*yaml_modules(ast.parse(file.read_text()))]
    ]

    assert users == ["trainer/plain_yaml.py"]


@pytest.mark.parametrize(
    ("rule", "violation"),
    [
        (unsafe_imports, "from pickle import loads"),
        (unsafe_calls, "eval('1')"),
        (unsafe_flags, "run('ls', shell=True)"),
        (pickled_weights, "torch.load('x.pt')"),
        (yaml_modules, "import yaml"),
        (yaml_modules, "from yaml.loader import SafeLoader"),
    ],
)
def test_each_rule_finds_a_violation(
    rule: Callable[[ast.AST], Iterator[int]], violation: str
) -> None:
    assert list(rule(ast.parse(f"ok = 1\n{violation}"))) == [2]


MARKUP = {
    "a script inside the page": re.compile(
        r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", re.I
    ),
    "a style inside the page": re.compile(r"<style|<[^>]+\sstyle\s*=", re.I),
    "a handler inside the page": re.compile(r"<[^>]+\son[a-z]+\s*=", re.I),
    "an expression for htmx to evaluate": re.compile(r"hx-on|hx-vals\s*=\s*[\"']js:", re.I),
    "unescaped text": re.compile(r"\|\s*safe\b|autoescape\s+off"),
}


@pytest.mark.parametrize("name", MARKUP)
def test_templates_have_no(name: str) -> None:
    files = sorted((ROOT / "templates").rglob("*.html"))
    violations = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file in files
        for match in MARKUP[name].finditer(file.read_text())
    ]

    assert files and violations == []


def test_scripts_make_no_markup_from_text() -> None:
    unsafe = re.compile(
        r"\.(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function\b"
    )
    files = sorted((ROOT / "static" / "js").rglob("*.js"))
    violations = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file in files
        for match in unsafe.finditer(file.read_text())
    ]

    assert files and violations == []


def test_no_file_is_too_long_to_read() -> None:
    files = [
        *python_files(),
        *(ROOT / "static").rglob("*.js"),
        *(ROOT / "static").rglob("*.css"),
        *(ROOT / "templates").rglob("*.html"),
    ]
    long = {
        str(file.relative_to(ROOT)): count
        for file in files
        if (count := len(file.read_text().splitlines())) > LONGEST_FILE
    }

    assert long == {}


def test_the_lock_files_name_no_registry_and_no_cuda() -> None:
    packages = (ROOT / "package-lock.json").read_text()
    python = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-dev.lock").read_text()

    assert '"resolved"' not in packages
    assert "torch==2.13.0\n" in python
    assert re.search(r"nvidia|triton|://|\+cpu|--hash", python) is None
