"""What a model folder says of itself, read without torch: configuration, size of the weights and
tokenizer.

A folder is a mapping from file name to path, so that an uploaded model, whose files lie in the
store under their hashes, and a folder on the server are read alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

Folder = Mapping[str, Path]

WEIGHTS = ".safetensors"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
LONGEST_CONFIG = 2**22


class UnusableModel(ValueError):
    """The files are no model that can be trained here; the message says why and what to do."""


@dataclass(frozen=True)
class ModelFacts:
    """`max_length` counts positions, `vocabulary` the tokens; None where the files do not say."""

    architecture: str
    parameters: int | None
    bytes: int
    vocabulary: int | None
    max_length: int | None


def folder_at(path: Path) -> dict[str, Path]:
    return {file.name: file for file in sorted(path.iterdir()) if file.is_file()}


def facts(folder: Folder) -> ModelFacts:
    """Read all that the page shows. Raises UnusableModel."""
    config = read_config(folder)
    weights = [path for name, path in folder.items() if name.endswith(WEIGHTS)]
    tokens = vocabulary(folder)
    return ModelFacts(
        architecture=architecture_of(config),
        parameters=sum(map(parameters_in, weights)) if weights else None,
        bytes=sum(path.stat().st_size for path in weights),
        vocabulary=len(tokens) if tokens else _whole(config.get("vocab_size")),
        max_length=max_length_of(config),
    )


def read_config(folder: Folder) -> dict[str, Any]:
    """config.json as a mapping. Raises UnusableModel."""
    if "config.json" not in folder:
        raise UnusableModel(
            "There is no config.json, so this is not a model folder. Save the model with save_pretrained and choose that folder."
        )
    config = _json(folder["config.json"], "config.json")
    if not isinstance(config, dict):
        raise UnusableModel("config.json is not a model configuration. Save the model again.")
    return config


def architecture_of(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else config.get("model_type")
    return first[:80] if isinstance(first, str) and first.isprintable() else ""


def max_length_of(config: Mapping[str, Any]) -> int | None:
    """Positions that the model was made for."""
    text = config.get("text_config")
    return _whole(
        config.get("max_position_embeddings")
        or config.get("n_positions")
        or (text or {}).get("max_position_embeddings")
    )


def parameters_in(path: Path) -> int:
    """Numbers in a safetensors file, whose list of tensors is checked against its bytes. Raises
    UnusableModel.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names: list[str] = list(file.keys())
            count = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise UnusableModel(
            f"A *.safetensors file cannot be read ({str(error)[:120]}). It is cut short, or something else under that name, such as a "
            "pickle: save the model again as safetensors and upload it whole."
        ) from error
    if not count:
        raise UnusableModel("A *.safetensors file holds no numbers at all. Save the model again.")
    return count


def vocabulary(folder: Folder) -> dict[str, int]:
    """Token → id, empty if the folder has no tokenizer.json. Raises UnusableModel if it cannot be
    read.
    """
    path = folder.get("tokenizer.json")
    return _vocabulary_at(path, path.stat().st_mtime_ns) if path else {}


def text_of(folder: Folder, ids: Sequence[int]) -> str:
    """Token ids as text, special tokens included; empty if the folder has no tokenizer.json. Raises
    UnusableModel if it cannot be read.
    """
    path = folder.get("tokenizer.json")
    return (
        str(
            _tokenizer_at(path, path.stat().st_mtime_ns).decode(
                list(ids), skip_special_tokens=False
            )
        )
        if path
        else ""
    )


@lru_cache(maxsize=16)
def _vocabulary_at(path: Path, changed: int) -> dict[str, int]:
    return dict(_tokenizer_at(path, changed).get_vocab(with_added_tokens=True))


@lru_cache(maxsize=4)
def _tokenizer_at(path: Path, changed: int) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for whatever is wrong
        raise UnusableModel(
            f"tokenizer.json cannot be read ({str(error)[:120]}). Save the tokenizer again."
        ) from error


def difference(ours: Mapping[str, int], theirs: Mapping[str, int]) -> str:
    """How two vocabularies differ, as "id 5 is “a” for the student and “b” for the teacher (7 ids
    differ)"; empty if they do not.
    """
    by_id, other = (
        {id: token for token, id in ours.items()},
        {id: token for token, id in theirs.items()},
    )
    different = sorted(id for id in by_id.keys() | other.keys() if by_id.get(id) != other.get(id))
    if not different:
        return ""
    first = different[0]
    return f"id {first} is {_shown(by_id, first)} for the student and {_shown(other, first)} for the teacher ({len(different):,} ids differ)"


def _shown(tokens: Mapping[int, str], id: int) -> str:
    return f"“{tokens[id]}”" if id in tokens else "missing"


def _json(path: Path, name: str) -> Any:
    if path.stat().st_size > LONGEST_CONFIG:
        raise UnusableModel(f"{name} is larger than any model configuration. Save the model again.")
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UnusableModel(
            f"{name} is not readable JSON ({str(error)[:120]}). Save the model again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnusableModel(
            f"{name} holds what no model configuration does. Save the model again."
        ) from error


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
