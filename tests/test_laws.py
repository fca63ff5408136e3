"""Form, launcher and web start without heavy packages: each import runs in a new interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORM = [
    "trainer.spec",
    "trainer.recipes",
    "trainer.text.problems",
    "trainer.text.verifiers",
    "trainer.text.training.problem_weights",
]


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level packages that importing `modules` loads in a new interpreter."""
    code = (
        f"import sys, {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    )
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


@pytest.mark.parametrize("module", FORM)
def test_modules_of_the_form_load_no_torch(module: str) -> None:
    assert loaded_by(module).isdisjoint(
        {"torch", "transformers", "django", "celery", "redis", "psycopg"}
    )


def test_the_launcher_loads_neither_django_nor_torch() -> None:
    assert loaded_by("workers.launcher.launch").isdisjoint(
        {"torch", "transformers", "django", "celery", "redis", "psycopg", "trainer"}
    )


def test_the_trainer_loads_no_server() -> None:
    assert loaded_by("trainer.cli").isdisjoint(
        {"django", "celery", "channels", "redis", "psycopg", "webapp", "workers"}
    )


def test_the_web_loads_no_torch() -> None:
    code = (
        "import sys, webapp.asgi; from django.urls import get_resolver; "
        "get_resolver().url_patterns; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "webapp.urls" in loaded
    assert "torch" not in loaded
