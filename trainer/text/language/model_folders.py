"""Where a language model's files are, whether they can be used, and the hash of their content.

Weights are read from safetensors only: a pickle can run any program when it is opened. A folder is
checked before anything is loaded, so that each error is one sentence that names the folder and the
remedy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUILTIN = Path(__file__).parent.parent / "builtin"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# No pickles and no Python: neither is ever opened.
WITHOUT_WEIGHTS = ("*.json", "*.jinja", "*.model", "*.txt")
DOWNLOADED = (*WITHOUT_WEIGHTS, "*.safetensors")


class ModelError(ValueError):
    """A model cannot be used; the message says which, why, and what to do."""


def cause_of(error: BaseException) -> str:
    """Return the first sentence of an error, or its kind where it says nothing."""
    lines = [*str(error).strip().splitlines(), "", ""]
    first = f"{lines[0]} {lines[1].strip()}" if lines[0].endswith(":") else lines[0]
    return first.rstrip(". ") or type(error).__name__


def local_folder(uri: str) -> Path:
    """Return the folder of a `builtin:`, `file:` or `hub:` model; hub models are downloaded once.

    Raises ModelError if there is no such model or it cannot be downloaded.
    """
    scheme, _, target = uri.partition(":")
    if scheme == "builtin":
        return _builtin(target)
    if scheme == "file":
        return Path(target)
    if scheme == "hub":
        return _downloaded(target)
    raise ModelError(
        f"{uri}: only builtin:, file: and hub: can be opened here; names of uploaded models "
        "are resolved by a worker."
    )


def tokenizer_folder(uri: str) -> Path:
    """As `local_folder`, but of a hub model everything except its weights is downloaded."""
    scheme, _, target = uri.partition(":")
    return _downloaded(target, WITHOUT_WEIGHTS) if scheme == "hub" else local_folder(uri)


def _builtin(name: str) -> Path:
    builtin_names = sorted(
        path.name for path in BUILTIN.iterdir() if path.is_dir() and not path.name.startswith("_")
    )
    if name not in builtin_names:
        raise ModelError(
            f"builtin:{name}: there is no such built-in model; choose one of "
            f"{', '.join(builtin_names)}."
        )
    return BUILTIN / name


def _downloaded(name: str, patterns: tuple[str, ...] = DOWNLOADED) -> Path:
    from huggingface_hub import list_repo_files, snapshot_download

    if _is_gguf(name):
        raise ModelError(gguf(f"hub:{name}"))
    repository, _, revision = name.partition("@")
    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=list(patterns))
        )
        is_gguf = (
            patterns == DOWNLOADED
            and not any(folder.glob("*.safetensors"))
            and any(
                _is_gguf(file) for file in list_repo_files(repository, revision=revision or None)
            )
        )
    except Exception as error:
        cause = str(error).strip().splitlines()[0]
        raise ModelError(
            f"hub:{name} could not be downloaded ({cause}). Check the name, the revision "
            "and the connection."
        ) from error
    if is_gguf:
        raise ModelError(gguf(f"hub:{name}"))
    return folder


def check_folder(folder: Path, *, weights: bool, frozen: bool = False) -> dict[str, Any]:
    """Return the folder's configuration after checking that the needed files exist.

    Only `frozen` networks may have quantised weights. Raises ModelError if a file is missing or of
    an unsupported kind.
    """
    if _is_gguf(folder.name) or (folder.is_dir() and _has_gguf_only(folder)):
        raise ModelError(gguf(str(folder)))
    if not folder.is_dir():
        raise ModelError(
            f"The model folder {folder} does not exist. It must hold config.json, "
            "safetensors and a tokenizer."
        )
    config = _read_config(folder / "config.json")
    if weights and not any(folder.glob("*.safetensors")):
        raise ModelError(_no_weights(folder))
    if is_quantised(config) and not frozen:
        raise ModelError(
            f"{folder} holds quantised weights ({quantisation(config)}), which cannot be trained. "
            "Use the full-precision version of the model; as a teacher the quantised one can be "
            "opened."
        )
    if is_quantised(config) and not weights:
        raise ModelError(
            f"{folder} holds quantised weights ({quantisation(config)}), which cannot be replaced "
            "by random ones. Use the full-precision version of the model."
        )
    if not _predicts_next_token(config):
        architectures = ", ".join(_architectures(config) or [str(config.get("model_type"))])
        raise ModelError(
            f"{folder} holds a {architectures}, which is not a causal language model. "
            "Choose a model that writes text left to right."
        )
    return config


def is_quantised(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json describes quantised weights (AWQ, GPTQ, FP8, bitsandbytes …)."""
    return bool(config.get("quantization_config"))


def quantisation(config: Mapping[str, Any]) -> str:
    """Return the name of the method of quantised weights, empty for others."""
    if not is_quantised(config):
        return ""
    settings = config["quantization_config"]
    method = settings.get("quant_method") if isinstance(settings, dict) else settings
    # transformers' own configurations have a member of an enumeration.
    return str(getattr(method, "value", method) or "of an unnamed kind")[:40]


def _has_gguf_only(folder: Path) -> bool:
    files = [path.name for path in folder.iterdir()]
    return any(map(_is_gguf, files)) and not any(name.endswith(".safetensors") for name in files)


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def gguf(name: str) -> str:
    """Return why a model in GGUF files is refused."""
    return (
        f"{name} is in GGUF files, the format of llama.cpp, which are not read here. Use the "
        "version of the model in safetensors, from which the GGUF files were made."
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent} has no config.json, so it is not a model folder. Save the model "
            "with save_pretrained."
        ) from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} is not readable JSON ({error}). Save the model again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a model configuration. Save the model again.")
    return config


def _no_weights(folder: Path) -> str:
    if any(path for pattern in PICKLED for path in folder.glob(pattern)):
        return (
            f"{folder} has pickled weights only, and opening a pickle can run any program. "
            "Convert them: load the model where you trust it and call save_pretrained, "
            "which writes safetensors."
        )
    return f"{folder} has no weights. Add its *.safetensors files, or ask for random weights."


def _predicts_next_token(config: dict[str, Any]) -> bool:
    architectures = _architectures(config)
    if architectures:
        # transformers takes a second to import, which most folders need not wait for.
        from trainer.text.language.text_towers import has_text_tower

        return any(
            name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures
        ) or has_text_tower(config)
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return str(config.get("model_type")) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _architectures(config: Mapping[str, Any]) -> list[str]:
    named = config.get("architectures")
    return [str(name) for name in named] if isinstance(named, list) else []


def content_hash(folder: Path, *, weights: bool, extra: str = "") -> str:
    """Return the SHA-256 of configuration, tokenizer and (if `weights`) safetensors.

    Equal content has the same hash in every folder.
    """
    patterns = [pattern for pattern in DOWNLOADED if weights or pattern != "*.safetensors"]
    digest = hashlib.sha256(extra.encode())
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
