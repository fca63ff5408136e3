"""Facts of a model folder, read without torch: configuration, size of the weights, tokenizer.

A folder is a mapping from file name to path, so that the same code reads an uploaded model, whose
files are in the artifact store under their hashes, and a folder on the server.

The files may be of any size and hold anything, and their libraries end a process that they need
more memory than it may have. So all of this runs in a child process: pages call
`webapp.library.model_reader`. No Django here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

Folder = Mapping[str, Path]

WEIGHTS = ".safetensors"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
PICKLED_ONLY = (
    "has pickled weights only, which can run any program when opened; save the model as safetensors"
)
MAX_CONFIG_BYTES = 2**22
MAX_HEADER_BYTES = 2**24


class UnusableModel(ValueError):
    """The files are no model that can be trained here; the message has the reason and a remedy."""


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


def require_usable(folder: Folder, weights: bool) -> None:
    """Raise UnusableModel if the folder lacks a tokenizer or, where needed, safe weights."""
    if weights and not any(name.endswith(WEIGHTS) for name in folder):
        if any(name.endswith(PICKLED) for name in folder):
            raise UnusableModel(PICKLED_ONLY)
        raise UnusableModel("has no *.safetensors weights; add them, or ask for random weights")
    if not folder.keys() & set(TOKENIZERS):
        raise UnusableModel("has no tokenizer; copy the model's tokenizer.json into its folder")


def answer(task: str, folder: Folder, ids: Sequence[int]) -> tuple[Any, str]:
    """Return what `task` names and "", or None and the reason why the files are unusable."""
    try:
        if task == "text":
            return text_of(folder, ids), ""
        return facts(folder, with_tokenizer=task == "facts"), ""
    except UnusableModel as problem:
        return None, str(problem)
    except OSError as problem:
        reason = f"A file of the model cannot be read ({problem.strerror}). Upload it again."
        return None, reason


def facts(folder: Folder, with_tokenizer: bool = True) -> ModelFacts:
    """Return what the page of a model shows. Raises UnusableModel.

    Without its tokenizer the vocabulary is what the configuration says.
    """
    config = read_config(folder)
    weights = [path for name, path in folder.items() if name.endswith(WEIGHTS)]
    tokens = vocabulary(folder) if with_tokenizer else None
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
            "There is no config.json, so this is not a model folder. "
            "Save the model with save_pretrained and choose that folder."
        )
    path = folder["config.json"]
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise UnusableModel(
            "config.json is larger than any model configuration. Save the model again."
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UnusableModel(
            f"config.json is not readable JSON ({str(error)[:120]}). Save the model again."
        ) from error
    except (ValueError, RecursionError) as error:
        # Bytes that are not UTF-8, an integer of too many digits, or very deep nesting.
        raise UnusableModel(
            "config.json holds what no model configuration does. Save the model again."
        ) from error
    if not isinstance(config, dict):
        raise UnusableModel("config.json is not a model configuration. Save the model again.")
    return config


def architecture_of(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else config.get("model_type")
    return first[:80] if isinstance(first, str) and first.isprintable() else ""


def max_length_of(config: Mapping[str, Any]) -> int | None:
    """Return the number of positions that the model was made for."""
    # GPT-2 calls it n_positions; models that also read images nest the settings of their text part.
    text = config.get("text_config")
    candidates = (
        config.get("max_position_embeddings"),
        config.get("n_positions"),
        text.get("max_position_embeddings") if isinstance(text, dict) else None,
    )
    return next((length for length in map(_whole, candidates) if length is not None), None)


def parameters_in(path: Path) -> int:
    """Return the number of parameters in a safetensors file.

    `safe_open` checks the list of tensors against the file size. Raises UnusableModel.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            names: list[str] = list(file.keys())
            # A shape comes from the header, so no weights are read.
            count = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise UnusableModel(
            f"A *.safetensors file cannot be read ({str(error)[:120]}). It is cut short, or "
            "something else under that name, such as a pickle: save the model again as "
            "safetensors and upload it whole."
        ) from error
    if not count:
        raise UnusableModel("A *.safetensors file holds no numbers at all. Save the model again.")
    return count


def _check_header(path: Path) -> None:
    """Raise UnusableModel if the list of tensors is longer than that of any model.

    It begins with its length in eight bytes. The format allows 100 MB.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MAX_HEADER_BYTES < length <= path.stat().st_size:
        raise UnusableModel(
            "A *.safetensors file lists more tensors than a model has. Save the model again."
        )


def vocabulary(folder: Folder) -> dict[str, int]:
    """Return token → id; empty if the folder has no tokenizer.json.

    Raises UnusableModel if that file cannot be read.
    """
    path = folder.get("tokenizer.json")
    if path is None:
        return {}
    with _panics_are_refusals():
        return dict(_tokenizer_at(path).get_vocab(with_added_tokens=True))


def text_of(folder: Folder, ids: Sequence[int]) -> str:
    """Return token ids as text, special tokens included; empty without tokenizer.json.

    Raises UnusableModel if that file cannot be read.
    """
    path = folder.get("tokenizer.json")
    if path is None:
        return ""
    with _panics_are_refusals():
        return str(_tokenizer_at(path).decode(list(ids), skip_special_tokens=False))


def _tokenizer_at(path: Path) -> Tokenizer:
    with _panics_are_refusals():
        return Tokenizer.from_file(str(path))


@contextmanager
def _panics_are_refusals() -> Iterator[None]:
    """Raise UnusableModel for whatever the library raises.

    That is a plain Exception for most of what may be wrong with a tokenizer, and a panic, which is
    no Exception, for some of it.
    """
    try:
        yield
    except (UnusableModel, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UnusableModel(
            f"tokenizer.json cannot be read ({str(error)[:120]}). Save the tokenizer again."
        ) from error


def _whole(value: Any) -> int | None:
    """Return a count; None for anything else, such as a number that no table can hold."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63
    return value if is_count else None
