"""Local paths of the data that a run definition names."""

from __future__ import annotations

from pathlib import Path

from trainer.text.problems.records import ProblemError

# Only data: no script of a data set is ever downloaded or run.
DATA_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv", "*.arrow"]


def locate(uri: str) -> Path:
    """The path of `file:<path>` or `hub:<org>/<name>@<revision>` (downloaded once).

    Raises ProblemError with the remedy.
    """
    scheme, _, target = uri.partition(":")
    if scheme == "hub":
        return _download(target)
    if scheme != "file":
        raise ProblemError(
            f"“{uri}” is a name that only the server knows; run it there, or give file:<path>"
        )
    path = Path(target).expanduser()
    if not path.exists():
        raise ProblemError(f"there is no file {path}; check the path")
    return path


def _download(target: str) -> Path:
    """The folder of the hub data set; only data files are downloaded, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = target.partition("@")
    try:
        return Path(
            snapshot_download(
                name, repo_type="dataset", revision=revision or None, allow_patterns=DATA_FILES
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProblemError(
            f"the data set {name} cannot be fetched from the hub: {reason}"
        ) from None
