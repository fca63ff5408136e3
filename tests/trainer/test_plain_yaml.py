"""YAML is read as plain values, and costs little memory whatever it says."""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.plain_yaml import MAX_CHARACTERS, UnreadableYaml, dump, load

# Above what the interpreter and the module need: twice what the largest text needs (35 MiB).
MOST_MEMORY = 70 * 2**20


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30:00", "1:30:00"),
        ("-190:20:30", "-190:20:30"),
        ("2026-11-30", "2026-11-30"),
        ("2026-11-30T10:00:00Z", "2026-11-30T10:00:00Z"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("0b11", "0b11"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("off", "off"),
        ("<<", "<<"),
        ("=", "="),
        ("1e-3", 0.001),
        ("-1.5", -1.5),
        ("+7", 7),
        ("-.inf", -math.inf),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("!!str 1", "1"),
        ("!!int 12", 12),
        ("!!float 1", None),
        ("{a: {b: [1, x]}}", {"a": {"b": [1, "x"]}}),
        ("a: &same [1]\nb: *same", {"a": [1], "b": [1]}),
        ("base: &base {x: 1}\n<<: *base", {"base": {"x": 1}, "<<": {"x": 1}}),
        ("1: a", {1: "a"}),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    if value is None and text.startswith("!!"):
        with pytest.raises(UnreadableYaml, match="neither text"):
            load(text)
    else:
        assert load(text) == value and type(load(text)) is type(value)


@pytest.mark.parametrize("text", ["1e3", "1:30:00", "12", "true", "1.50", "9" * 5000, "0x1f"])
def test_values_can_be_read_as_the_text_that_is_written(text: str) -> None:
    assert load(f"name: {text}\nnone: null", as_text=True) == {"name": text, "none": None}


def chain(first: str, link: str, count: int) -> str:
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {link.replace('@', f'*a{n - 1}')}" for n in range(1, count)]
    return "\n".join([*lines, f"name: *a{count - 1}"])


REFUSED = {
    "aliases to aliases": (chain("[x, x]", "[@, @]", 60), "aliases"),
    "aliases to aliases in mappings": (chain("{x: x}", "{x: @, y: @}", 60), "aliases"),
    "aliases to one long text": (
        "a: &a " + "x" * 200_000 + "\nb: [" + "*a, " * 9000 + "]",
        "alias",
    ),
    "aliases that nest": (chain("[x]", "[@]", 400), "nested too deeply|aliases"),
    "lists in lists": ("[" * 5000, "nested too deeply"),
    "mappings in mappings": ("{a: " * 5000, "nested too deeply"),
    "lines of dashes": ("- " * 5000, "nested too deeply"),
    "a list that contains itself": ("&a [1, *a]", "contains itself"),
    "a mapping that contains itself": ("&a {b: {c: *a}}", "contains itself"),
    "many values": ("[" + "1," * 60_000 + "]", "more than 50,000 values"),
    "many names": ("\n".join(f"{n}:" for n in range(30_000)), "more than 50,000 values"),
    "a long text": ("x" * (MAX_CHARACTERS + 1), "at most 262,144"),
    "a number of 5,000 digits": ("seed: " + "9" * 5000, "ordinary size"),
    "a negative number of 5,000 digits": ("seed: -" + "9" * 5000, "ordinary size"),
    "a base of 60 by its tag": ("!!int 1:" + "1:" * 50_000 + "1", "neither text"),
    "hexadecimal by its tag": ("!!int 0x" + "f" * 50_000, "neither text"),
    "binary values": ("!!binary aGk=", "neither text"),
    "a date by its tag": ("!!timestamp 2026-11-30", "neither text"),
    "sets": ("!!set {a, b}", "neither text"),
    "ordered mappings": ("!!omap [a: 1]", "neither text"),
    "merged mappings": ("base: &base {x: 1}\n!!merge <<: *base", "neither text"),
    "objects of Python": ("!!python/object/apply:os.system ['true']", "neither text"),
    "names of Python": ("!!python/name:os.system", "neither text"),
    "a tag of its own": ("!mine 1", "neither text"),
    "half of a surrogate pair": ('"\\ud800"', "invalid Unicode character"),
    "half of a surrogate pair as it is": ("\ud800", "neither text"),
    "a list as a name": ("? [a]\n: 1", "a name is a list"),
    "a name given twice": ("a: 1\nb: 2\na: 3", "“a” is given twice"),
    "a name given twice among many": (
        "\n".join(f"n{n}:" for n in range(20_000)) + "\nn7:",
        "“n7” is given twice",
    ),
    "two documents": ("a: 1\n---\nb: 2", "another document in line 2"),
    "an unknown alias": ("*nothing", "undefined alias"),
    "an open bracket": ("a:\n [1, 2", "did not find expected .* from line 2 on"),
    "a control character": ("a: \x00", "control characters are not allowed"),
}


LARGEST = {
    "values": "[" + "1," * 49_000 + "]",
    "lists": "[" + "[]," * 49_000 + "]",
    "pairs": "{" + ",".join(f"n{n}: " for n in range(24_000)) + "}",
    "one text": "a: " + "x" * (MAX_CHARACTERS - 10),
    "escapes": '"' + "\\x41" * 60_000 + '"',
    "aliases": "a: &a [" + "1," * 1000 + "]\nb: [" + "*a," * 28 + "]",
    "tabs": "\t" * 200_000,
    "comments": "#\n" * 100_000,
    "anchors": "[" + ",".join(f"&a{n} x" for n in range(25_000)) + "]",
    "questions": "? " * 100_000,
    "open brackets of names": "[{" * 100_000,
    "quotes": "'" * 200_000,
}
# The peak of the process itself: `ru_maxrss` would be that of its parent at the start. Each text is
# read in a fork, which has a peak of its own and need not import anything.
CHILD = """
import json, os, re, sys
from pathlib import Path
from trainer.plain_yaml import UnreadableYaml, load
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
def read(text):
    before, refusal = peak(), ""
    try:
        str(load(text.read_text(errors="surrogatepass")))
    except UnreadableYaml as error:
        refusal = str(error)
    text.with_suffix(".json").write_text(json.dumps([1024 * (peak() - before), refusal]))
load("a: 1")
for text in sorted(Path(sys.argv[1]).glob("*.yaml")):
    if not (pid := os.fork()):
        read(text)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, text
"""


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """How many bytes the reading of each text needs, and why it is refused, if it is."""
    folder = tmp_path_factory.mktemp("texts")
    texts = LARGEST | {name: text for name, (text, _) in REFUSED.items()}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, errors="surrogatepass")
    subprocess.run([sys.executable, "-c", CHILD, str(folder)], check=True)
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in texts}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_value_or_too_much_is_refused_with_the_reason(
    readings: dict[str, tuple[int, str]], name: str
) -> None:
    assert re.search(REFUSED[name][1], readings[name][1])


def test_no_text_needs_much_memory(readings: dict[str, tuple[int, str]]) -> None:
    assert {name: peak for name, (peak, _) in readings.items() if peak >= MOST_MEMORY} == {}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.text("abc:-#'\" 1e", max_size=4), values, max_size=4)
    ),
    max_leaves=20,
)


@given(plain)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert load(dump(value)) == value


@given(st.text(max_size=80) | st.text("[]{}&*!?:-,\n ab1'\"", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableYaml):
        load(text)
