"""docker-compose.yml and the Dockerfile agree with each other, with the launcher and with the settings that the program reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from webapp import environment
from workers.launcher.launch import PARTS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found = compose["services"]
    assert isinstance(found, dict)
    return found


def test_the_four_parts_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {"web", "worker", "postgres", "redis"}


def test_every_part_depends_on_parts_that_say_when_they_are_healthy(services: dict[str, Any]) -> None:
    for service in services.values():
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in services[needed]


def test_nothing_listens_beyond_loopback(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_secrets_have_no_default(services: dict[str, Any]) -> None:
    values = [str(value) for service in services.values() for value in service.get("environment", {}).values()]
    secret = [value for value in values if "SECRET_KEY" in value or "PASSWORD" in value]

    assert secret and all(re.search(r"\$\{(SECRET_KEY|POSTGRES_PASSWORD):\?", value) for value in secret)


def test_volumes_are_declared(compose: dict[str, Any], services: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}

    assert used == set(compose["volumes"])


def test_the_launcher_knows_the_commands(services: dict[str, Any]) -> None:
    assert [services[name]["command"] for name in PARTS] == [[name] for name in PARTS]
    assert '"-m", "workers.launcher"]' in (ROOT / "Dockerfile").read_text()


def test_the_program_reads_what_compose_sets(services: dict[str, Any]) -> None:
    given = {name: re.sub(r"\$\{[^}]*\}", "x", value) for name, value in services["web"]["environment"].items()}
    found = environment.require(environment.read(given, Path("/nonexistent")))

    assert found.host == "0.0.0.0"
    assert found.state == Path("/state")
    assert environment.database(found.database_url)["HOST"] == "postgres"


def test_the_image_copies_only_what_is_there() -> None:
    copied = re.findall(r"^COPY --chown=\w+ (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)

    assert copied and all((ROOT / name).exists() for line in copied for name in line.split())
