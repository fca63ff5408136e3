"""Whatever the files of a model hold, they are read or refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.limits.conftest import MIB
from trainer.text import builtin
from webapp.library import model_files, model_reader
from webapp.library.model_files import UnusableModel

STUDENT = Path(builtin.__file__).parent / "student"
FIELDS = [
    "architectures",
    "model_type",
    "max_position_embeddings",
    "n_positions",
    "text_config",
    "vocab_size",
]
WRONG: list[Any] = [None, True, -1, 10**30, 1.5, "", "x", [], [1], [[]], {}, {"a": 1}]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner)
)
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder: dict[str, Path]) -> None:
    """Read a folder in every way; only UnusableModel may be raised."""
    for work in (
        lambda: model_files.facts(folder),
        lambda: model_files.text_of(folder, [0, 1, 5, 10**6]),
        lambda: model_files.text_of(folder, [-1]),
    ):
        with suppress(UnusableModel):
            work()


@shared
@given(config=st.dictionaries(st.sampled_from(FIELDS), values) | values)
def test_any_configuration(tmp_path: Path, config: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    try:
        facts = model_files.facts({"config.json": path})
    except UnusableModel:
        return
    # They are stored in Postgres.
    for count in (facts.vocabulary, facts.max_length):
        assert count is None or 0 < count < 2**63


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value; of long lists and tables only those of the first entries."""
    yield path
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for _, (key, inner) in zip(range(12), entries, strict=False):
            yield from places(inner, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = changed(document[path[0]], path[1:], value)
    return copy


def tokenizer() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((STUDENT / "tokenizer.json").read_text())
    return document


def parts() -> Iterator[tuple[str, Any]]:
    """Yield kinds of normalizers and their like, with a setting of each that may be broken."""
    for kind in ("Precompiled", "Replace", "Strip", "Prepend", "Sequence", "BertNormalizer"):
        for setting in ("precompiled_charsmap", "pattern", "normalizers", "content", "prepend"):
            for value in WRONG:
                yield "normalizer", {"type": kind, setting: value}
    for kind in ("Split", "ByteLevel", "Metaspace", "Punctuation", "Sequence", "Digits"):
        for setting in ("pattern", "behavior", "replacement", "pretokenizers"):
            for value in [*WRONG, {"Regex": "("}, {"Regex": "(a+)+$"}]:
                yield "pre_tokenizer", {"type": kind, setting: value, "invert": False}


def test_every_value_of_a_tokenizer_may_have_another_type(tmp_path: Path) -> None:
    document, path = tokenizer(), tmp_path / "tokenizer.json"
    folder = {"config.json": STUDENT / "config.json", "tokenizer.json": path}
    for place in places(document):
        for value in WRONG:
            path.write_text(json.dumps(changed(document, place, value)))
            read(folder)


def test_every_part_of_a_tokenizer_may_be_broken(tmp_path: Path) -> None:
    document, path = tokenizer(), tmp_path / "tokenizer.json"
    folder = {"config.json": STUDENT / "config.json", "tokenizer.json": path}
    for name, part in parts():
        path.write_text(json.dumps({**document, name: part}))
        read(folder)


def test_a_tokenizer_that_needs_more_memory_than_it_may_have_is_left_to_the_trainer(
    tmp_path: Path,
) -> None:
    """The vocabulary of its configuration is shown."""
    large = tmp_path / "tokenizer.json"
    vocab = ",".join(f'"{number:060}":{number}' for number in range(950_000))
    model = '{"type":"WordLevel","unk_token":"a","vocab":{%s}}'.replace("%s", vocab)
    large.write_text('{"version":"1.0","added_tokens":[],"model":%s}'.replace("%s", model))
    assert large.stat().st_size > 60 * MIB
    folder = {"config.json": STUDENT / "config.json", "tokenizer.json": large}
    assert model_reader.facts(folder).vocabulary == model_files.read_config(folder)["vocab_size"]
    with pytest.raises(UnusableModel, match="more memory"):
        model_reader.text_of(folder, [1])


def test_a_list_of_tensors_as_long_as_its_format_allows_is_refused(tmp_path: Path) -> None:
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(f'"{number}":{empty}' for number in range(1_500_000)) + "}").encode()
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    folder = {"config.json": STUDENT / "config.json", "model.safetensors": weights}
    with pytest.raises(UnusableModel):
        model_reader.facts(folder)
