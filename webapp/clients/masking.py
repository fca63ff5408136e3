"""Masks secrets in what clients log about a run, before it is stored.

Configurations hold access tokens, keys and passwords, and a shared run shows its configuration to
strangers. A value is masked if its name says that it is a secret, in nested values, lists, command
lines and text too, or if it has the form of a well-known token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from webapp.clients.secret_names import kind_of

MASK = "***"

# Values that are no secret whatever their name is: nothing, a switch, a placeholder, a variable.
NO_SECRET = re.compile(
    r"\s*(?:|none|null|true|false|empty|dummy|fake|unset|placeholder|your[-_ ][\w -]*"
    r"|\*+|x{3,}|\.{3,}|<[^<>]*>|\[\w[\w -]*\]"
    r"|\$\w+|\$\{[^}]*\}|%\w+%|\{\{?\s*[\w.]+\s*\}\}?|(?:secret|env):\S*|os\.(?:environ|getenv)\S*)\s*",
    re.IGNORECASE,
)
# The same for all but passwords, beside numbers and paths of files.
SETTING = re.compile(r"\s*(?:yes|no|on|off|auto|default|basic|.{1,2})\s*", re.IGNORECASE)
NUMBER = re.compile(r"\s*[-+]?[\d.,_]+(?:e[-+]?\d+)?\s*", re.IGNORECASE)
FILE_PATH = re.compile(r"(?:[~.]?/|[A-Za-z]:\\|[a-z0-9]+://)\S*")
# Settings have shorter numbers, except for counts of tokens.
LONGEST_NUMBER = 7
PLAIN_WORD = re.compile(r"[A-Za-z]{1,12}(?:[-_ ][A-Za-z]{1,12})*")
# Letters and digits that change too often for a word or a date.
RANDOM = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:[A-Za-z]++[0-9]++){3}|(?:[0-9]++[A-Za-z]++){3})[A-Za-z0-9]*"
)
SHORTEST_RANDOM = 16

# Forms of well-known tokens: those of hubs, clouds and services, and JSON web tokens.
KNOWN_FORMS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
    hf_[A-Za-z0-9]{30,} | (?:gh[oprsu]_|npm_|gsk_|r8_)[A-Za-z0-9]{30,} | github_pat_\w{22,}
    | glpat-[\w-]{20,} | sk-[\w-]{0,40}?[A-Za-z0-9]{20}[\w-]* | [rs]k_(?:live|test)_[A-Za-z0-9]{16,}
    | xox[a-z]-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{35} | ya29\.[\w-]{20,}
    | nvapi-[\w-]{30,} | dapi[0-9a-f]{32} | pypi-[\w-]{50,} | wandb_v1_\w{20,}
    | SG\.[\w-]{20,}\.[\w-]{20,} | eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]* | \d{8,10}:AA[\w-]{32,}
    )""",
    re.VERBOSE,
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
WEBHOOK = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/\d+/"
    r"|webhook\.office\.com/webhookb2/|api\.telegram\.org/bot\d+:)[\w/@.-]+"
)
# user:password@ of any address, and the only part before @ where an address of the web has one. A
# password may have an @ or a slash in it; a number before a slash is that of a port.
URL_PASSWORD = re.compile(
    r"(\b[a-z][a-z0-9+.-]{1,30}://[^\s/:@?#]*:)"
    r"(?:[^\s/@\"'<>]+(?:@[^\s/@\"'<>]+)*|(?!\d+/)[^\s@\"'<>]{1,200})(?=@)",
    re.IGNORECASE,
)
URL_USER = re.compile(r"(\bhttps?://)[^\s/:@?#]+(?=@)", re.IGNORECASE)
# Options of curl, mysql and sshpass. `-u 1000:1000` is a user and a group.
COMMAND_PASSWORD = re.compile(
    r"((?<!\S)(?:-u|--user|--proxy-user)[ =]['\"]?(?!\d+:\d+\b)[^\s:'\"]+:"
    r"|\b(?:mysql|mysqldump|mariadb)\b[^\n|;]{0,200}?\s-p(?=\S)|\bsshpass -p ?['\"]?)[^\s'\"]+"
)
SCHEME = re.compile(r"\b(Bearer|Basic)([ ]+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# A name before its value in text: of JSON, YAML, XML, a query, a variable or an option of a
# command. Quotes of texts in texts have backslashes before them.
NAME = re.compile(
    r"""(?<![\w.-])(?P<option>--?)?(?P<quote>\\{0,15}["']|)
    (?P<name>[A-Za-z_][\w.-]{0,99})(?P=quote)
    (?P<between>\s{0,3}[:=]\s{0,3}(?:[|>][+-]?\n\s{0,20})?|(?<=\w)[ ]{1,3}(?=[^\s-])
    |>(?=[^\s<]))""",
    re.VERBOSE,
)
VALUE = re.compile(
    r"""(?P<open>(?:\w{1,40}\()?b?(?P<escape>\\{0,15})(?P<mark>["']))
        (?P<quoted>(?:(?!(?<!\\)(?P=escape)(?P=mark))[^\n])*)(?=(?P=escape)(?P=mark))
    | (?P<bare>(?:(?:bearer|basic|token)[ ]+)?(?:(?!</)[^\s\0"'&;,(){}\[\]\\])+)""",
    re.VERBOSE | re.IGNORECASE,
)
# What is around a name and a value that are a line or an entry of a list, not words of a sentence.
ENTRY_START = re.compile(r"(?:^|[\n\r\"'`,;|{\[(])\s*(?:- )?\Z")
ENTRY_END = re.compile(r"\s*(?:\Z|[\n\r\"'`,;|}\])]|\\)")
# Names of the two parts of a variable that is a mapping.
LABELS = ("name", "key", "variable")
LABELLED = ("value", "val")
OPTION = re.compile(r"--?([A-Za-z][\w.-]*)")
# Characters of a text that are looked at; what is stored of a value is shorter.
LONGEST_TEXT = 20_000


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named values with their secrets masked; a name may be a path such as `hub/token`."""
    return {name: _masked(value, name) for name, value in values.items()}


def masked_text(text: str) -> str:
    """Return text, up to LONGEST_TEXT characters of it, with the secrets in it masked."""
    text = text[:LONGEST_TEXT]
    if (as_json := _masked_json(text)) is not None:
        return as_json
    text = PRIVATE_KEY.sub(MASK, text)
    for pattern in (URL_PASSWORD, URL_USER, WEBHOOK, COMMAND_PASSWORD):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    text = _masked_pairs(KNOWN_FORMS.sub(MASK, text))
    return SCHEME.sub(rf"\g<1>\g<2>{MASK}", text)


def _masked_json(text: str) -> str | None:
    """Return text that is JSON with its secrets masked; None if it is none or has no secrets."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        value = json.loads(text)
        masked_value = _masked(value, "")
        new_text = json.dumps(masked_value, ensure_ascii=False)
        # Half of a surrogate pair cannot be stored.
        new_text.encode()
        return None if masked_value == value else new_text
    except (ValueError, RecursionError):
        return None


def _masked(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        # {"name": "HF_TOKEN", "value": "…"}, as variables are listed.
        label = next((value[key] for key in value if str(key).lower() in LABELS), None)
        return {
            key: _masked(
                inner, f"{name}/{label if label and str(key).lower() in LABELLED else key}"
            )
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
    if (
        len(values) == 2
        and isinstance(first, str)
        and not kind_of(name)
        and re.fullmatch(r"[A-Za-z][\w.-]+", first)
        and (first[0].isupper() or _is_random(str(values[1])))
    ):
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
        # A value may reach to the end of the text: only those of secret names are looked for.
        value = VALUE.match(text, end) if kind_of(pair["name"]) else None
        # `secret:<name>` names a secret of the servers, as in definitions of runs.
        is_reference = pair["name"] == "secret" and pair["between"] == ":"
        if value is not None and not is_reference and _is_secret_pair(text, pair, value):
            parts.append((value["open"] or "") + MASK)
            position = value.end()
    return "".join(parts) + text[position:]


def _is_secret_pair(text: str, pair: re.Match[str], value: re.Match[str]) -> bool:
    content = value["quoted"] if value["bare"] is None else value["bare"]
    if not _is_secret(pair["name"], content):
        return False
    between = pair["between"]
    if between.isspace():
        # With nothing but a space between them, these are an option of a command.
        return bool(pair["option"]) or _is_random(content)
    if between == ">":
        return text[: pair.start()].endswith("<")
    if value["bare"] is None or pair["quote"] or ":" not in between or re.search(r"\d", content):
        return True
    # Otherwise it may be prose, as in “Write the last token: then stop”.
    before = text[max(0, pair.start() - 20) : pair.start()]
    return (
        kind_of(pair["name"]) in ("password", "secret")
        and ENTRY_START.search(before) is not None
        and ENTRY_END.match(text, value.end()) is not None
    )


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
    if kind == "open":
        return _is_random(text)
    if kind == "word" and PLAIN_WORD.fullmatch(text):
        return False
    is_path = FILE_PATH.fullmatch(text) and not (_is_random(text) and text.count("/") == 1)
    is_count = len(text) <= LONGEST_NUMBER or name.lower().endswith("s")
    return not (
        (is_path and kind != "secret")
        or (is_count and NUMBER.fullmatch(text))
        or SETTING.fullmatch(text)
    )


def _is_random(text: str) -> bool:
    return any(len(part[0]) >= SHORTEST_RANDOM for part in RANDOM.finditer(text))
