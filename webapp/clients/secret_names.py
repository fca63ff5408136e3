"""What a name says about its value: that it is a password, another secret, or a token.

The word *token* alone says little in this field: `eos_token` and `max_tokens` are no secrets,
`hub_token` is one. Likewise *key* and *pass*. Where a name leaves it open, the value decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

# `open`: it may be a secret. `word`: it may be a token or a setting, which is a plain word.
Kind = Literal["password", "secret", "token", "word", "open", ""]
# The words of a name in any spelling: hub_token, hub-token, hubToken, HUB_TOKEN.
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A name with a word that ends so is that of a secret: `client_secret`, `PGPASSWORD`.
PASSWORDS = ("password", "passwords", "passwd", "passphrase", "passcode")
SECRETS = (
    "secret",
    "secrets",
    "authorization",
    "bearer",
    "apikey",
    "apikeys",
    "secretkey",
    "accesskey",
    "privatekey",
    "authkey",
)
FILES_TOO = ("credential", "credentials", "apitoken", "authtoken", "accesstoken", "hftoken")
# Words that are too short or common to be one in the middle of a name.
LAST_WORDS = {"pwd", "psw", "jwt", "cookie", "cookies", "auth", "hubtoken"}
# Before the word *key*: a key of a service, or one of cryptography. Other keys are names.
KEY_OWNERS = _words(
    "api access secret private ssh signing encryption account master service auth deploy storage "
    "subscription shared admin client consumer license licence openai anthropic azure aws gcp "
    "google gemini mistral cohere groq together replicate wandb comet neptune clearml swanlab hf "
    "huggingface hub openrouter deepseek fireworks perplexity xai nvidia ngc modal runpod lambda "
    "databricks snowflake elastic sendgrid stripe slack github gitlab sentry datadog ai fal"
)
# Before *tokens*, which mostly counts or lists tokens of text, and before a *token*.
TOKEN_OWNERS = KEY_OWNERS | _words("bearer refresh session bot user write read oauth deploy auth")
# Before the word *token*: a token of text.
TEXT_TOKENS = _words(
    "pad padding eos bos unk unknown sep cls mask image img video audio vision speech special stop "
    "end start begin beginning eot eom sot think thinking reasoning first last next "
    "prev previous current per each every single new prompt completion response answer question "
    "input output decoder encoder forced target source student teacher sampled generated kept "
    "dropped ignore ignored dummy placeholder separator delimiter pixel patch word subword byte "
    "char boi eoi boa eoa fim prefix suffix middle newline blank label class register memory gist "
    "soft virtual tool added extra text context min max num n by cross intra inter multi"
)
# Before the word *pass*: a password. Other passes are those of an algorithm or a test.
PASS_OWNERS = _words(
    "db database user smtp redis mysql postgres pg mongo admin root ssh proxy http ftp mail"
)
# A name that ends so may be that of a secret, or of something else.
OPEN_WORDS = _words("pass key sig signature sas oauth pat pin")
# A name that ends so says something about a secret: `api_key_env` names the variable that has it.
ABOUT = _words(
    "env name names file files path dir folder var variable id ids count counts size length len "
    "type types field column limit ttl expiry expires url header headers required enabled policy "
    "prefix rate ratio hash provider source location manager store min max"
)
# Words that end a name and say nothing about it.
EMPTY_WORDS = {"value", "string", "str", "raw", "base64"}


@lru_cache(maxsize=10_000)
def kind_of(name: str) -> Kind:
    """Return what a name says that its value is, or "" for no secret.

    In a path, such as `secrets/openai`, each part may say it.
    """
    kinds = [_kind_of_part(WORD.findall(part)) for part in re.split(r"[/.]", name)]
    last_words = [word.lower() for word in WORD.findall(name)[-1:]]
    if not ABOUT.isdisjoint(last_words):
        return ""
    return next((kind for kind in reversed(kinds) if kind), "")


def _kind_of_part(words: Sequence[str]) -> Kind:
    words = [word.lower() for word in words]
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in EMPTY_WORDS):
        words.pop()
    last, owner = (["", *words])[-1], (["", "", *words])[-2]
    is_pass = last == "pass" and owner in PASS_OWNERS
    is_pass |= last.endswith("pass") and last[: -len("pass")] in PASS_OWNERS
    if is_pass or any(word.endswith(PASSWORDS) for word in words):
        return "password"
    if any(word.endswith(SECRETS) for word in words):
        return "secret"
    pairs = set(pairwise(words))
    if any(second in ("key", "keys") and first in KEY_OWNERS for first, second in pairs):
        return "secret"
    if last in LAST_WORDS or any(word.endswith(FILES_TOO) for word in words):
        return "token"
    if last == "tokens":
        return "token" if owner in TOKEN_OWNERS else ""
    if last == "token":
        if owner in TEXT_TOKENS:
            return "open"
        return "token" if not owner or owner in TOKEN_OWNERS else "word"
    return "open" if last in OPEN_WORDS else ""
