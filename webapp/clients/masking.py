"""Masks secrets in what clients log about a run, before it is stored.

Configurations hold access tokens, keys and passwords, and a shared run shows its configuration to
strangers. A value is masked if its name says that it is a secret, in nested values, lists, command
lines and text too, or if it has the form of a well-known token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from webapp.clients.secret_names import kind_of

MASK = "***"

# Values that are no secret whatever their name is: nothing, a switch, a placeholder, a variable.
NO_SECRET = re.compile(
    r"\s*(?:|none|null|true|false|\*+|x{3,}|\.{3,}|<[^<>]*>|\[\w[\w -]*\]"
    r"|\$\w+|\$\{[^}]*\}|%\w+%|\{\{?\s*[\w.]+\s*\}\}?|(?:secret|env):\S*|os\.(?:environ|getenv)\S*)\s*",
    re.IGNORECASE,
)
# The same for all but passwords, beside numbers and paths of files.
SETTING = re.compile(r"\s*(?:yes|no|on|off|auto|default|basic|.{1,2})\s*", re.IGNORECASE)
NUMBER = re.compile(r"\s*[-+]?[\d.,_]+(?:e[-+]?\d+)?\s*", re.IGNORECASE)
FILE_PATH = re.compile(r"(?:[~.]?/|[A-Za-z]:\\|[a-z0-9]+://)\S*")

# Forms of well-known tokens: those of hubs, clouds and services, and JSON web tokens.
KNOWN_FORMS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
    hf_[A-Za-z0-9]{30,} | (?:gh[oprsu]_|npm_|gsk_|r8_)[A-Za-z0-9]{30,} | github_pat_\w{22,}
    | glpat-[\w-]{20,} | sk-[\w-]{0,40}?[A-Za-z0-9]{20}[\w-]* | [rs]k_(?:live|test)_[A-Za-z0-9]{16,}
    | xox[a-z]-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{35} | ya29\.[\w-]{20,}
    | nvapi-[\w-]{30,} | dapi[0-9a-f]{32} | pypi-[\w-]{50,} | wandb_v1_\w{20,}
    | SG\.[\w-]{20,}\.[\w-]{20,} | eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*
    )""",
    re.VERBOSE,
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
WEBHOOK = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/\d+/)[\w/-]+"
)
# user:password@ of any address, and the only part before @ where an address of the web has one.
URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]{1,30}://[^\s/:@?#]*:)[^\s/@]+(?=@)", re.IGNORECASE)
URL_USER = re.compile(r"(\bhttps?://)[^\s/:@?#]+(?=@)", re.IGNORECASE)
SCHEME = re.compile(r"\b(Bearer|Basic)([ ]+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# A name before its value in text: of JSON, YAML, a query, a variable or an option of a command.
NAME = re.compile(
    r"""(?<![\w.-])(?P<option>--?)?(?P<quote>\\?["']|)(?P<name>[A-Za-z_][\w.-]{0,99})(?P=quote)
    (?P<between>\s{0,3}[:=]\s{0,3}|(?<=\w)[ ]{1,3}(?=[^\s-]))""",
    re.VERBOSE,
)
VALUE = re.compile(
    r"""(?P<open>b?\\?["'])(?P<quoted>(?:[^"'\\\n]|\\[^"'])*)(?=\\?["'])
    | (?P<bare>(?:(?:bearer|basic|token)[ ]+)?[^\s"'&;,(){}\[\]\\]+)""",
    re.VERBOSE | re.IGNORECASE,
)
OPTION = re.compile(r"--?([A-Za-z][\w.-]*)")
# Characters of a text that are looked at; what is stored of a value is shorter.
LONGEST_TEXT = 20_000


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named values with their secrets masked; a name may be a path such as `hub/token`."""
    return {name: _masked(value, name) for name, value in values.items()}


def masked_text(text: str) -> str:
    """Return text, up to LONGEST_TEXT characters of it, with the secrets in it masked."""
    text = PRIVATE_KEY.sub(MASK, text[:LONGEST_TEXT])
    for pattern in (URL_PASSWORD, URL_USER, WEBHOOK):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    text = _masked_pairs(KNOWN_FORMS.sub(MASK, text))
    return SCHEME.sub(rf"\g<1>\g<2>{MASK}", text)


def _masked(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        # {"name": "HF_TOKEN", "value": "…"}, as variables are listed.
        label = next((value[key] for key in ("name", "key", "variable") if key in value), None)
        return {
            key: _masked(inner, f"{name}/{label if key == 'value' and label else key}")
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return _masked_list(value, name)
    if _is_secret(name, value):
        return MASK
    is_text = isinstance(value, str) and not NO_SECRET.fullmatch(value)
    return masked_text(value) if is_text else value


def _masked_list(values: Sequence[Any], name: str) -> list[Any]:
    first = values[0] if values else None
    # ["HF_TOKEN", "…"] and ["Authorization", "…"]; but ["token", "label"] are names of columns.
    if len(values) == 2 and isinstance(first, str) and re.fullmatch(r"[A-Z][\w-]+", first):
        return [first, _masked(values[1], f"{name}/{first}")]
    masked_values: list[Any] = []
    option = ""
    for value in values:
        # ["--hub_token", "…"], the words of a command.
        is_option = OPTION.fullmatch(value) if isinstance(value, str) else None
        masked_values.append(
            value if is_option else _masked(value, f"{name}/{option}" if option else name)
        )
        option = is_option[1] if is_option else ""
    return masked_values


def _masked_pairs(text: str) -> str:
    """Return text with the values of secret names masked."""
    parts: list[str] = []
    position = 0
    while pair := NAME.search(text, position):
        end = pair.end()
        parts.append(text[position:end])
        position = end
        value = VALUE.match(text, end)
        # A name and a value with nothing but a space between them are an option of a command.
        is_option = not pair["between"].isspace() or pair["option"]
        # `secret:<name>` names a secret of the servers, as in definitions of runs.
        is_reference = pair["name"] == "secret" and pair["between"] == ":"
        if value is None or not is_option or is_reference:
            continue
        content = value["quoted"] if value["bare"] is None else value["bare"]
        if _is_secret(pair["name"], content) and (
            value["bare"] is None
            or pair["quote"]
            or ":" not in pair["between"]
            # In prose, as in “Write the last token: then stop”.
            or kind_of(pair["name"]) != "token"
            or re.search(r"\d", content)
        ):
            parts.append((value["open"] or "") + MASK)
            position = value.end()
    return "".join(parts) + text[position:]


def _is_secret(name: str, value: Any) -> bool:
    """Whether the value of that name must not be shown."""
    kind = kind_of(name)
    if not kind or value is None or isinstance(value, bool):
        return False
    text = str(value)
    if NO_SECRET.fullmatch(text):
        return False
    if kind == "password":
        return True
    is_file = FILE_PATH.fullmatch(text) and kind != "secret"
    return not (is_file or NUMBER.fullmatch(text) or SETTING.fullmatch(text))
