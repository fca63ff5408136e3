"""`docs/add-a-method.md` followed to the letter, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.services import SET_HERE

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "add-a-method.md"
# What a copy of the project needs to run its commands, tests and pages.
PARTS = ("trainer", "webapp", "workers", "templates", "static", "tests", "docs", "bench")
FILES = ("manage.py", "pyproject.toml", "README.md", "CONTRIBUTING.md")
# Without the addresses of this session's Postgres and Redis: the copy's tests start their own.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("DATABASE_URL", "REDIS_URL", SET_HERE) and not name.startswith("PYTEST_")
} | {"OMP_NUM_THREADS": "1"}
MECHANISMS = (
    {"objectives/jeffreys.py", "objectives/test_jeffreys.py"},
    {"controllers/varied.py", "rollouts/test_varied.py"},
    {"shapers/decisions.py", "shapers/test_decisions.py"},
    {"controllers/doubting.py", "rollouts/test_doubting.py"},
    {"token_scores/both.py", "text/test_both_directions.py"},
)


def files_of_the_guide() -> dict[str, str]:
    """Return the content of each file that the guide has its reader make, by path."""
    made = r"(?:is|here) `([\w/.]+)`[^`]*?\n\n```\w+\n(.*?)^```$"
    return dict(re.findall(made, GUIDE.read_text(encoding="utf-8"), re.S | re.M))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project with the guide's files and a run definition of its recipe."""
    copy = tmp_path_factory.mktemp("extension") / "project"
    ignored = shutil.ignore_patterns("__pycache__", "recorded", "recordings")
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    for path, text in files_of_the_guide().items():
        assert not (copy / path).exists(), f"{path} exists already; the guide makes a new file"
        (copy / path).write_text(text, encoding="utf-8")
    definition = yaml.safe_load(
        command(copy, "trainer", "recipes", "jeffreys", "--preset", "small")
    )
    # Enough answers that some problem has right and wrong ones, which alone are trained on.
    definition["stages"][0] |= {"until": {"steps": 1}, "problems_per_step": 24}
    definition["stages"][0]["rollouts"]["generate"]["per_problem"] = 4
    definition["stages"][0]["optimiser"]["warmup_steps"] = 1
    definition["evaluation"] |= {"every": 0, "problems": 8}
    (copy / "run.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    yield copy
    shutil.rmtree(copy)


def command(clone: Path, module: str, *arguments: str) -> str:
    """Return what `python -m module` prints in the copy; fail if it does not succeed."""
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=clone,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_a_mechanism_is_three_files() -> None:
    python_files = [path for path in files_of_the_guide() if path.endswith(".py")]
    assert len(python_files) == 3 * len(MECHANISMS)
    for names in MECHANISMS:
        assert sum(path.endswith(tuple(names)) for path in python_files) == 3


def test_the_definition_is_valid_and_explained_in_words(clone: Path) -> None:
    command(clone, "trainer", "validate", "run.yaml")
    explanation = command(clone, "trainer", "explain", "run.yaml")
    assert "Jeffreys' divergence to the teacher" in explanation
    assert "the highest by both" in explanation


def test_the_reference_of_all_settings_has_the_new_ones(clone: Path) -> None:
    page = command(clone, "trainer", "schema", "--markdown")
    assert "stages.*.objective.gamma" in page and "Share of forward KL." in page
    assert "same verdict are not trained on" in page
    assert "The sum of the reverse and the forward KL divergence." in page
    assert "stages.*.shapers.decisions.factor" in page


def test_a_run_trains_a_step_with_them(clone: Path) -> None:
    command(clone, "trainer", "run", "run.yaml", "--dir", "my-run")
    events = "".join(path.read_text() for path in (clone / "my-run").rglob("*.jsonl"))
    assert '"divergence/mean"' in events and '"tokens/kept_share"' in events
    assert '"outcome":"completed"' in events.replace(" ", "")


def test_a_stage_that_drops_every_answer_says_so_once(clone: Path) -> None:
    definition = yaml.safe_load((clone / "run.yaml").read_text())
    definition["stages"][0]["until"] = {"steps": 2}
    # A single answer has one verdict, so the controller of the guide drops every problem.
    definition["stages"][0]["rollouts"]["generate"]["per_problem"] = 1
    (clone / "single.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    command(clone, "trainer", "run", "single.yaml", "--dir", "single")
    events = "".join(path.read_text() for path in (clone / "single").rglob("*.jsonl"))
    assert events.count("trains on no answer") == 1
    assert "all answers have the same verdict" in events


def test_the_guides_own_tests_pass(clone: Path) -> None:
    tests = [path for path in files_of_the_guide() if Path(path).name.startswith("test_")]
    command(clone, "pytest", "-q", "-p", "no:cacheprovider", *tests)


def test_form_run_page_and_recipe_page_show_them(clone: Path) -> None:
    pages = "tests/webapp/pages/pages_of_a_new_method.py"
    command(clone, "pytest", "-q", "-p", "no:cacheprovider", pages)


def test_the_new_files_are_typed_and_keep_the_import_contracts(clone: Path) -> None:
    files = [path for path in files_of_the_guide() if path.endswith(".py")]
    command(clone, "ruff", "check", "--no-cache", *files)
    command(clone, "ruff", "format", "--no-cache", "--check", *files)
