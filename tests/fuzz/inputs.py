"""The inputs of a target: files by name, and how one is stored as a file of a corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"
# Names and contents. For a target that reads no files the names say what each content is.
Input = Mapping[str, bytes]


# Gives an input to the program, with an empty folder for its files. Returns what came of it in few
# words: how it was refused, or what was read. Of inputs with different outcomes each is kept and
# changed further. Raises any error that is not documented.
Read = Callable[[Input, Path], str]
# Makes an input; the list has the seeds and all inputs that had a new outcome.
Make = Callable[[Random, list[Input]], Input]
# Opens what the reading needs; the folder is the only place where files may be written.
Open = Callable[[Path], AbstractContextManager[Read]]


@dataclass(frozen=True)
class Target:
    """A part of the program that reads what others wrote."""

    seeds: list[Input]
    make: Make
    open: Open


def save(input: Input, path: Path) -> None:
    """Store as JSON; each byte of a content is one character, so that text stays readable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    characters = {name: content.decode("latin-1") for name, content in input.items()}
    path.write_text(json.dumps(characters, indent=1) + "\n")


def load(path: Path) -> Input:
    characters = json.loads(path.read_text())
    return {name: content.encode("latin-1") for name, content in characters.items()}


def corpus_of(target: str) -> Iterator[Path]:
    """The stored inputs that once failed."""
    return iter(sorted((CORPUS / target).glob("*.json")))


def digest(input: Input) -> str:
    return hashlib.sha256(repr(sorted(input.items())).encode()).hexdigest()[:12]
