"""Configuration from environment variables, else from `var/env` (KEY=VALUE lines of the launcher).

Importable without Django, so that the web, the workers and the launcher read the same values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = Path(os.environ.get("STILLROOM_ENV_FILE") or ROOT / "var" / "env")

# Timeouts in seconds (the last in milliseconds) after which a connection to an unreachable database
# fails; options in the URL override them.
CONNECTION_OPTIONS = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


# As Django's own check of a deployment, except for the length, which is that of 24 random bytes.
SHORTEST_KEY, FEWEST_CHARACTERS = 32, 8


class ConfigurationError(Exception):
    """A setting is missing or invalid; the message names it and a remedy."""


@dataclass(frozen=True)
class Environment:
    """Everything that differs between one installation and the next."""

    secret_key: str
    database_url: str
    redis_url: str
    state: Path
    artifacts: Path
    allowed_hosts: tuple[str, ...]
    file_roots: tuple[Path, ...]
    endpoints: tuple[str, ...]
    secret_teams: Mapping[str, frozenset[str]]
    host: str
    port: int
    https: bool
    no_sample: bool
    debug: bool
    max_upload_bytes: int
    file_bytes: int
    run_files_bytes: int
    raw_days: int
    max_restarts: int
    lease_seconds: int
    hung_seconds: int
    log_rate: int
    preflight_seconds: int
    preflight_wait: int
    logs: str
    connections: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    proxy_hops: int
    metrics_token: str
    metrics_addresses: tuple[IPv4Network | IPv6Network, ...]


def read(environ: Mapping[str, str] | None = None, file: Path = ENV_FILE) -> Environment:
    """Read all settings; environment variables override `file`. Raises ConfigurationError."""
    values = {**_lines(file), **(os.environ if environ is None else environ)}
    # `ROOT / path` is `path` itself if that is absolute. The same holds for `artifacts` below.
    state = ROOT / (values.get("STILLROOM_STATE") or "var")
    return Environment(
        secret_key=values.get("SECRET_KEY", ""),
        database_url=values.get("DATABASE_URL", ""),
        redis_url=values.get("REDIS_URL", ""),
        state=state,
        artifacts=ROOT / (values.get("STILLROOM_ARTIFACTS") or state / "artifacts"),
        allowed_hosts=tuple(_split(values.get("ALLOWED_HOSTS", "localhost,127.0.0.1"), ",")),
        file_roots=tuple(
            Path(root) for root in _split(values.get("STILLROOM_FILE_ROOTS", ""), ":")
        ),
        endpoints=tuple(_split(values.get("STILLROOM_ENDPOINTS", ""), ",")),
        secret_teams=_secret_teams(values),
        host=values.get("STILLROOM_HOST", "127.0.0.1"),
        port=_number(values, "STILLROOM_PORT", 8000),
        https=_flag(values, "STILLROOM_HTTPS"),
        no_sample=_flag(values, "STILLROOM_NO_SAMPLE"),
        debug=_flag(values, "DEBUG"),
        max_upload_bytes=_number(values, "STILLROOM_MAX_UPLOAD_BYTES", 16 * 2**30),
        file_bytes=_number(values, "STILLROOM_FILE_BYTES", 2**30),
        run_files_bytes=_number(values, "STILLROOM_RUN_FILES_BYTES", 10 * 2**30),
        raw_days=_number(values, "STILLROOM_RAW_DAYS", 0),
        max_restarts=_number(values, "STILLROOM_MAX_RESTARTS", 3),
        lease_seconds=_number(values, "STILLROOM_LEASE_SECONDS", 30),
        hung_seconds=max(1, _number(values, "STILLROOM_HUNG_SECONDS", 90)),
        log_rate=_number(values, "STILLROOM_LOG_RATE", 200_000),
        preflight_seconds=max(1, _number(values, "STILLROOM_PREFLIGHT_SECONDS", 60)),
        preflight_wait=_number(values, "STILLROOM_PREFLIGHT_WAIT", 20),
        logs=_one_of(values, "STILLROOM_LOGS", ("text", "json")),
        connections=max(1, _number(values, "STILLROOM_CONNECTIONS", 256)),
        trusted_proxies=_networks(values, "STILLROOM_TRUSTED_PROXIES"),
        proxy_hops=max(1, _number(values, "STILLROOM_PROXY_HOPS", 1)),
        metrics_token=values.get("STILLROOM_METRICS_TOKEN", ""),
        metrics_addresses=_networks(values, "STILLROOM_METRICS_ADDRESSES"),
    )


def require(environment: Environment) -> Environment:
    """Return `environment` if it has all that is required. Raises ConfigurationError."""
    names = {
        "SECRET_KEY": environment.secret_key,
        "DATABASE_URL": environment.database_url,
        "REDIS_URL": environment.redis_url,
    }
    missing = [name for name, value in names.items() if not value]
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)} not set. "
            f"Start with `make run`, which writes {ENV_FILE}, or set the variables."
        )
    return environment


def refuse_unsafe(environment: Environment) -> Environment:
    """Return `environment` unless a setting would let anybody in. Raises ConfigurationError.

    A missing secret key is left to `require`.
    """
    key, hosts = environment.secret_key, environment.allowed_hosts
    if key and (
        len(key) < SHORTEST_KEY
        or len(set(key)) < FEWEST_CHARACTERS
        # What `django-admin startproject` writes, and people publish.
        or key.startswith("django-insecure-")
    ):
        raise ConfigurationError(
            f"SECRET_KEY can be guessed: it needs {SHORTEST_KEY} random characters, and with it "
            "anybody could sign in as anybody. Make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )
    # Django takes a name that begins with a dot for all names that end so.
    wild = [host for host in hosts if "*" in host or (host[0] == "." and host.count(".") < 2)]
    if [host for host in wild if host != ".localhost"]:
        raise ConfigurationError(
            f"ALLOWED_HOSTS has {wild[0]}, which lets pages under any name use this server. List "
            "the names of this server, such as stillroom.example,localhost."
        )
    if environment.debug and not all(map(_is_local, (*hosts, environment.host))):
        raise ConfigurationError(
            "DEBUG shows code and settings to every visitor, so it is for this machine alone. "
            "Unset DEBUG, or let ALLOWED_HOSTS be localhost,127.0.0.1 and STILLROOM_HOST 127.0.0.1."
        )
    return environment


def _is_local(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def database(url: str) -> dict[str, Any]:
    """Return Django's database settings for a `postgresql://` URL; empty for an empty URL."""
    if not url:
        return {}
    url_parts = urlsplit(url)
    if url_parts.scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"DATABASE_URL must begin with postgresql://, not {url_parts.scheme or 'nothing'}:"
        )
    query = dict(parse_qsl(url_parts.query))
    return {
        "ENGINE": "webapp.base.database",
        "NAME": unquote(url_parts.path.lstrip("/")),
        # libpq takes the folder of a unix socket as a host in the query (?host=/run/postgresql).
        "HOST": query.pop("host", None) or url_parts.hostname or "",
        "PORT": query.pop("port", None) or str(url_parts.port or ""),
        "USER": query.pop("user", None) or unquote(url_parts.username or ""),
        "PASSWORD": query.pop("password", None) or unquote(url_parts.password or ""),
        # Connections are kept for ever; the check finds those that the server closed meanwhile.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        # What is left in the query after the `pop`s above are options of libpq.
        "OPTIONS": {**CONNECTION_OPTIONS, **query},
    }


def broker_url(redis_url: str) -> str:
    """Return the Celery broker URL on the same Redis.

    kombu writes a unix socket as `redis+socket://path?virtual_host=db`.
    """
    url_parts = urlsplit(redis_url)
    if url_parts.scheme != "unix":
        return redis_url
    number = dict(parse_qsl(url_parts.query)).get("db", "0")
    return f"redis+socket://{url_parts.path}?virtual_host={number}"


def celery_broker() -> str:
    """Return the broker URL of this installation."""
    return broker_url(require(read()).redis_url)


def _lines(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key.strip(): value.strip() for key, _, value in pairs}


def secret_variable(name: str) -> str:
    """Return the environment variable of `secret:<name>`, as `trainer.text.teachers` reads it."""
    return "STILLROOM_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _secret_teams(values: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the slugs of the teams that may use a secret, by its variable.

    Different names with the same variable are one secret. Raises ConfigurationError.
    """
    teams: dict[str, frozenset[str]] = {}
    for pair in _split(values.get("STILLROOM_SECRET_TEAMS", ""), ","):
        name, _, team = (part.strip() for part in pair.partition("="))
        if not name or not team:
            raise ConfigurationError(
                "STILLROOM_SECRET_TEAMS must list the secrets of teams as name=team, separated by "
                f"commas, not {pair!r}"
            )
        variable = secret_variable(name.removeprefix("secret:"))
        teams[variable] = teams.get(variable, frozenset()) | {team}
    return teams


def _split(text: str, separator: str) -> list[str]:
    return [item.strip() for item in text.split(separator) if item.strip()]


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    # An empty value means the default: docker compose passes unset variables as empty ones.
    text = values.get(name) or str(default)
    if not text.isdecimal():
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _one_of(values: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return a value of `choices`, by default the first. Raises ConfigurationError."""
    text = values.get(name) or choices[0]
    if text not in choices:
        raise ConfigurationError(f"{name} must be {' or '.join(choices)}, not {text!r}")
    return text


def _networks(values: Mapping[str, str], name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text) for text in _split(values.get(name, ""), ","))
    except ValueError as problem:
        raise ConfigurationError(
            f"{name} must be addresses or networks, separated by commas: {problem}"
        ) from None


def _flag(values: Mapping[str, str], name: str) -> bool:
    text = values.get(name, "").lower()
    if text not in ("", "0", "1", "true", "false", "yes", "no", "on", "off"):
        raise ConfigurationError(f"{name} must be 1 or 0, not {text!r}")
    return text in ("1", "true", "yes", "on")
