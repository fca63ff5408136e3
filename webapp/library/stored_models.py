"""Model folders that a team uploads: which files are stored and which are refused.

Only files that a model is loaded from are kept, under their own base names; code and pickles never
enter the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from webapp.access.models import Team, User
from webapp.library import artifacts, model_files, model_reader, uploads
from webapp.library.model_files import Folder, ModelFacts, UnusableModel
from webapp.library.models import StoredModel

STORED_FILES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "tokenizer.model",
        "spiece.model",
        "chat_template.jinja",
        "chat_template.json",
        "model.safetensors.index.json",
    }
)
LONGEST_NAME = 120
MEDIA_TYPES = {".json": "application/json", ".txt": "text/plain", ".jinja": "text/plain"}


@dataclass(frozen=True)
class UploadedModel:
    model: StoredModel
    left_out: tuple[str, ...]


def store(team: Team, user: User | None, name: str, files: Iterable[UploadedFile]) -> UploadedModel:
    """Store a model folder for the team; the same content twice is one model.

    Raises UnusableModel with a sentence for the page.
    """
    file_by_name, left_out = select_files(files)
    paths = {name: uploads.path_of(file) for name, file in file_by_name.items()}
    return UploadedModel(store_files(team, user, name, paths), tuple(left_out))


def store_files(team: Team, user: User | None, name: str, paths: Folder) -> StoredModel:
    """Store the files of a model for the team; the same content twice is one model.

    Raises UnusableModel with a sentence for the page.
    """
    slug = slugify(name)[:80]
    if not slug:
        raise UnusableModel("Give the model a name with at least one letter or digit.")
    # The files are read before anything is stored, so a bad one leaves nothing behind.
    facts = model_reader.facts(paths)
    # Not in one transaction with the row of the model: `put` would keep its lock, for which
    # `collect` waits, until all weights are written. If one file fails, `collect` deletes the rest.
    manifest = {
        name: artifacts.put(
            path, team, MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
        ).sha256
        for name, path in paths.items()
    }
    model, _ = StoredModel.objects.get_or_create(
        team=team,
        name=slug,
        hash=hash_of(manifest),
        defaults={
            "manifest": manifest,
            "architecture": facts.architecture,
            "parameters": facts.parameters,
            "facts": asdict(facts),
            "created_by": user,
        },
    )
    return model


def select_files(files: Iterable[UploadedFile]) -> tuple[dict[str, UploadedFile], list[str]]:
    """Return the files to store by base name, and the names of those that are left out.

    Raises UnusableModel if they make no model.
    """
    file_by_name: dict[str, UploadedFile] = {}
    left_out: list[str] = []
    for file in files:
        name = uploads.base_name(file.name or "")
        if not is_kept(name):
            left_out.append(name)
        elif name in file_by_name:
            raise UnusableModel(
                f"Two files are called {name}. Choose one model folder, without folders inside it."
            )
        else:
            file_by_name[name] = file
    _require_parts(set(file_by_name), left_out)
    return file_by_name, sorted(left_out)


def is_kept(name: str) -> bool:
    plain = name.isprintable() and len(name) <= LONGEST_NAME and not name.startswith(".")
    return plain and (
        name in STORED_FILES or (name.endswith(model_files.WEIGHTS) and name != model_files.WEIGHTS)
    )


def folder_of(model: StoredModel) -> Folder:
    return {name: artifacts.path(model.team, sha256) for name, sha256 in model.manifest.items()}


def facts_of(model: StoredModel) -> ModelFacts:
    """Return what the model's files state; they are read once.

    Raises UnusableModel, and FileNotFoundError if a file is missing from the store.
    """
    if not model.facts:
        model.facts = asdict(model_reader.facts(folder_of(model)))
        model.save(update_fields=["facts"])
    return ModelFacts(**model.facts)


def hash_of(manifest: dict[str, str]) -> str:
    """SHA-256 over the sorted names and hashes of the files."""
    # It is part of the locations `model:<name>@<hash>` in stored definitions: another way to
    # compute it would make a second model of the same upload.
    return hashlib.sha256(
        "".join(f"{name}\0{sha256}\n" for name, sha256 in sorted(manifest.items())).encode()
    ).hexdigest()


def _require_parts(names: set[str], left_out: list[str]) -> None:
    if "config.json" not in names:
        raise UnusableModel(
            "There is no config.json, so this is not a model folder. "
            "Save the model with save_pretrained and choose that folder."
        )
    if not any(name.endswith(model_files.WEIGHTS) for name in names):
        if any(name.endswith(model_files.PICKLED) for name in left_out):
            raise UnusableModel(
                "The folder has pickled weights only, and opening a pickle can run any program. "
                "Convert them: load the model where you trust it and call save_pretrained, "
                "which writes safetensors."
            )
        raise UnusableModel("The folder has no weights. Add its *.safetensors files.")
    if not names & set(model_files.TOKENIZERS):
        raise UnusableModel(
            "The folder has no tokenizer. "
            "Copy the model's tokenizer.json and tokenizer_config.json into it."
        )
