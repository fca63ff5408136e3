"""docker-compose.yml, Caddyfile and Dockerfile agree with the launcher and the settings.

No container is started here: these tests read the files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from webapp.base import environment
from workers.launcher.launch import PARTS

ROOT = Path(__file__).resolve().parent.parent
OURS = {"web": "web", "worker-cpu": "worker", "worker-gpu": "worker"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    sections = compose["services"]
    assert isinstance(sections, dict)
    return sections


def filled_in(text: object, variables: dict[str, str]) -> str:
    """Replace `${NAME:-default}` and `${NAME:?message}` as compose does."""
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda match: variables.get(match[1], match[3] if match[2] == "-" else "given"),
        str(text),
    )


def environment_of(service: dict[str, Any], **variables: str) -> dict[str, str]:
    return {
        name: filled_in(value, variables) for name, value in service.get("environment", {}).items()
    }


def test_every_part_exists(services: dict[str, Any]) -> None:
    assert set(services) == {
        "proxy",
        "web",
        "worker-cpu",
        "worker-gpu",
        "vllm",
        "postgres",
        "redis",
    }


def test_workers_and_vllm_are_chosen_by_profile_and_the_rest_always_runs(
    services: dict[str, Any],
) -> None:
    profiles = {
        name: service["profiles"] for name, service in services.items() if "profiles" in service
    }

    assert profiles == {"worker-cpu": ["cpu"], "worker-gpu": ["gpu"], "vllm": ["vllm"]}


def test_every_part_has_a_health_check_and_is_restarted(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD" and service["healthcheck"]["retries"] > 0
        assert service["logging"]["options"]["max-size"]


def test_every_part_waits_for_parts_that_are_healthy(services: dict[str, Any]) -> None:
    for service in services.values():
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert needed in services and "profiles" not in services[needed]


def test_only_the_proxy_is_reached_from_outside(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]


def test_gpus_are_reserved_for_the_parts_that_need_them(services: dict[str, Any]) -> None:
    reserved = {
        name: device["count"]
        for name, service in services.items()
        for device in service.get("deploy", {})
        .get("resources", {})
        .get("reservations", {})
        .get("devices", [])
        if device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    }

    assert reserved == {"worker-gpu": "all", "vllm": 1}


def test_vllm_takes_no_weights_from_the_network(services: dict[str, Any]) -> None:
    text = yaml.safe_dump(services["vllm"]).lower()

    assert "dev_mode" not in text and "worker-extension" not in text and "trust" not in text


def test_no_part_runs_in_debug_mode(services: dict[str, Any]) -> None:
    assert not any("DEBUG" in service.get("environment", {}) for service in services.values())


def test_secrets_have_no_default(services: dict[str, Any]) -> None:
    values = [
        str(value)
        for service in services.values()
        for value in service.get("environment", {}).values()
    ]
    secret = [value for value in values if "SECRET_KEY" in value or "PASSWORD" in value]

    assert secret and all(
        re.search(r"\$\{(SECRET_KEY|POSTGRES_PASSWORD|REDIS_PASSWORD):\?", value)
        for value in secret
    )


def test_redis_asks_for_the_password_that_the_others_have(services: dict[str, Any]) -> None:
    variables = environment_of(services["redis"], REDIS_PASSWORD="word")
    assert "requirepass $$REDIS_PASSWORD" in services["redis"]["command"][-1]
    assert (variables["REDIS_PASSWORD"], variables["REDISCLI_AUTH"]) == ("word", "word")
    for name in OURS:
        addresses = environment_of(services[name], REDIS_PASSWORD="word")
        assert addresses["REDIS_URL"] == "redis://:word@redis:6379/0"


def test_volumes_are_declared_and_only_the_artifacts_are_shared(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
    ]
    volumes = [name for name in mounted if not name.startswith(".")]

    assert set(volumes) == set(compose["volumes"])
    assert {name for name in volumes if volumes.count(name) > 1} == {"artifacts"}
    assert all((ROOT / name).exists() for name in mounted if name.startswith("."))


def test_the_launcher_knows_the_commands(services: dict[str, Any]) -> None:
    assert {name: services[name]["command"] for name in OURS} == {
        name: [command] for name, command in OURS.items()
    }
    assert set(OURS.values()) == set(PARTS)
    assert '"-m", "workers.launcher"]' in (ROOT / "Dockerfile").read_text()


def test_trainers_have_the_time_for_a_checkpoint(services: dict[str, Any]) -> None:
    from workers.launcher.launch import CHILD_SECONDS, TRAINER_SECONDS

    assert all(
        int(services[name]["stop_grace_period"].rstrip("s")) > TRAINER_SECONDS + CHILD_SECONDS
        for name in OURS
        if name != "web"
    )


@pytest.mark.parametrize("name", OURS)
def test_the_settings_that_compose_sets_are_read(services: dict[str, Any], name: str) -> None:
    variables = environment_of(services[name], STILLROOM_DOMAIN="stillroom.example")
    settings = environment.require(environment.read(variables, Path("/nonexistent")))
    sources = [*(ROOT / "workers").rglob("*.py"), *(ROOT / "webapp").rglob("*.py")]
    read = {
        name_read
        for source in sources
        for name_read in re.findall(r"\b[A-Z][A-Z_]{3,}\b", source.read_text())
    }

    assert set(variables) <= read
    assert (settings.state, settings.artifacts, settings.logs) == (
        Path("/state"),
        Path("/artifacts"),
        "json",
    )
    assert environment.database(settings.database_url)["HOST"] == "postgres"


def test_the_web_is_behind_tls_and_answers_to_its_name_and_to_its_health_check(
    services: dict[str, Any],
) -> None:
    settings = environment.read(
        environment_of(services["web"], STILLROOM_DOMAIN="stillroom.example"), Path("/nonexistent")
    )

    assert settings.https and settings.host == "0.0.0.0"
    assert settings.allowed_hosts == ("stillroom.example", "localhost", "127.0.0.1")
    assert "127.0.0.1:8000/readyz" in services["web"]["healthcheck"]["test"][-1]


def test_each_worker_has_a_fixed_name(services: dict[str, Any]) -> None:
    names = [
        environment_of(services[name])["STILLROOM_HOST_NAME"] for name in OURS if name != "web"
    ]

    assert names == ["one-cpu", "one-gpu"]


def test_the_proxy_forwards_what_the_web_accepts(services: dict[str, Any]) -> None:
    caddy = (ROOT / "deploy" / "Caddyfile").read_text()
    largest = re.search(r"max_size (\d+)GiB", caddy)

    assert (
        largest
        and int(largest[1]) * 2**30 == environment.read({}, Path("/nonexistent")).max_upload_bytes
    )
    assert re.search(r"reverse_proxy web:8000\b", caddy) and re.search(
        r"@inside path /metrics /readyz\n\s+respond @inside 404", caddy
    )
    assert set(re.findall(r"\{\$(\w+)", caddy)) <= set(services["proxy"]["environment"])
    assert caddy.count("{") == caddy.count("}")


def test_the_image_copies_only_existing_files() -> None:
    copied = re.findall(r"^COPY --chown=\w+ (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)

    assert copied and all((ROOT / name).exists() for line in copied for name in line.split())


def test_the_image_owns_the_folders_that_are_mounted(services: dict[str, Any]) -> None:
    image = (ROOT / "Dockerfile").read_text()
    targets = {volume.split(":")[1] for name in OURS for volume in services[name]["volumes"]}
    mkdir = re.search(r"mkdir -p (.+?) &&", image)

    assert mkdir and targets <= set(mkdir[1].split())
