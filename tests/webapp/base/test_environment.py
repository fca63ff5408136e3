"""Where the parts are: environment variables, `var/env` and what they mean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.text.teachers import secret_values
from webapp.base import environment
from webapp.base.environment import CONNECTION_OPTIONS

ROOT = Path(__file__).resolve().parents[3]


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# written at first start\nSECRET_KEY=from the file\nREDIS_URL=redis://file\n")
    settings = environment.read({"REDIS_URL": "redis://variable"}, file)
    assert (settings.secret_key, settings.redis_url) == ("from the file", "redis://variable")


def test_a_missing_setting_is_named_with_what_to_do(tmp_path: Path) -> None:
    settings = environment.read({"SECRET_KEY": "x"}, tmp_path / "none")
    with pytest.raises(
        environment.ConfigurationError,
        match=r"DATABASE_URL, REDIS_URL not set\. Start with `make run`",
    ):
        environment.require(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("STILLROOM_PORT", "http"), ("DEBUG", "maybe"), ("STILLROOM_MAX_UPLOAD_BYTES", "-1")],
)
def test_an_unreadable_value_is_named(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(environment.ConfigurationError, match=name):
        environment.read({name: value}, tmp_path / "none")


GOOD_KEY = "8Jc1mJq7T0c2vYp3sXw5bN6rKd9fLg4h"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"SECRET_KEY": "x"}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "a" * 100}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "django-insecure-" + "ab" * 40}, "SECRET_KEY can be guessed"),
        ({"ALLOWED_HOSTS": "*"}, r"ALLOWED_HOSTS has \*"),
        ({"ALLOWED_HOSTS": "localhost, *"}, r"ALLOWED_HOSTS has \*"),
        ({"ALLOWED_HOSTS": "*.example.org"}, "ALLOWED_HOSTS has"),
        ({"ALLOWED_HOSTS": ".org"}, "ALLOWED_HOSTS has .org"),
        ({"ALLOWED_HOSTS": "."}, "ALLOWED_HOSTS has"),
        ({"DEBUG": "1", "ALLOWED_HOSTS": "stillroom.example"}, "DEBUG shows"),
        ({"DEBUG": "1", "ALLOWED_HOSTS": "localhost,192.168.1.5"}, "DEBUG shows"),
        ({"DEBUG": "1", "STILLROOM_HOST": "0.0.0.0"}, "DEBUG shows"),
        ({"DEBUG": "1", "STILLROOM_HOST": "::"}, "DEBUG shows"),
    ],
)
def test_an_unsafe_setting_stops_every_start(
    values: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    settings = environment.read({"SECRET_KEY": GOOD_KEY} | values, tmp_path / "none")
    with pytest.raises(environment.ConfigurationError, match=sentence):
        environment.refuse_unsafe(settings)
    variables = {**os.environ, "SECRET_KEY": GOOD_KEY, "STILLROOM_STATE": str(tmp_path)} | values
    for module in (["manage.py", "check"], ["-c", "import webapp.asgi"]):
        process = subprocess.run(
            [sys.executable, *module], cwd=ROOT, env=variables, capture_output=True, text=True
        )
        last_line = process.stderr.strip().splitlines()[-1]
        assert process.returncode == 1 and re.search(sentence, last_line)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ALLOWED_HOSTS": "stillroom.example,.stillroom.example,localhost"},
        {"DEBUG": "1"},
        {"DEBUG": "1", "ALLOWED_HOSTS": "localhost,.localhost,127.0.0.1,[::1]"},
    ],
)
def test_a_safe_setting_is_taken(values: dict[str, str], tmp_path: Path) -> None:
    settings = environment.read({"SECRET_KEY": GOOD_KEY} | values, tmp_path / "none")
    assert environment.refuse_unsafe(settings) is settings


def test_secrets_of_teams_are_listed_by_name(tmp_path: Path) -> None:
    text = "big-model=still, secret:Big_Model=other,hub=still"
    settings = environment.read({"STILLROOM_SECRET_TEAMS": text}, tmp_path / "none")
    assert settings.secret_teams == {
        # Both names are the same variable of the workers.
        "STILLROOM_SECRET_BIG_MODEL": {"still", "other"},
        "STILLROOM_SECRET_HUB": {"still"},
    }
    for name in ("big-model", "Big_Model", "hub"):
        assert environment.secret_variable(name) == secret_values.variable_of(f"secret:{name}")
    with pytest.raises(environment.ConfigurationError, match="name=team"):
        environment.read({"STILLROOM_SECRET_TEAMS": "big-model"}, tmp_path / "none")


def test_debug_is_off_by_default(tmp_path: Path) -> None:
    assert environment.read({}, tmp_path / "none").debug is False


def test_a_socket_folder_and_a_server_both_name_a_database() -> None:
    socket = environment.database("postgresql:///stillroom?host=/run/pg&user=room")
    assert (socket["NAME"], socket["HOST"], socket["USER"]) == ("stillroom", "/run/pg", "room")
    server = environment.database("postgresql://ann:p%40ss@db.example:5433/room?sslmode=require")
    assert (server["USER"], server["PASSWORD"], server["HOST"], server["PORT"]) == (
        "ann",
        "p@ss",
        "db.example",
        "5433",
    )
    assert server["OPTIONS"] == {**CONNECTION_OPTIONS, "sslmode": "require"}


def test_another_database_is_refused() -> None:
    with pytest.raises(environment.ConfigurationError, match="postgresql://"):
        environment.database("mysql://db/room")


def test_a_redis_socket_becomes_a_broker_url_of_celery() -> None:
    assert (
        environment.broker_url("unix:///run/redis.sock?db=3")
        == "redis+socket:///run/redis.sock?virtual_host=3"
    )
    assert environment.broker_url("redis://host:6379/0") == "redis://host:6379/0"
