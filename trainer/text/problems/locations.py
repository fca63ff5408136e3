"""Where the data that a run definition names lies on this machine."""

from __future__ import annotations

from pathlib import Path

from trainer.text.problems.records import ProblemError

DATA_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv", "*.arrow"]


def locate(uri: str) -> Path:
    """Path of `file:<path>` or `hub:<org>/<name>@<revision>` (downloaded once). Raises ProblemError
    with the remedy.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "hub":
        return _downloaded(rest)
    if scheme != "file":
        raise ProblemError(
            f"“{uri}” is a name that only the server knows; run it there, or give file:<path>"
        )
    path = Path(rest).expanduser()
    if not path.exists():
        raise ProblemError(f"there is no file {path}; check the path")
    return path


def _downloaded(rest: str) -> Path:
    """Folder of the hub data set; only its data files are fetched, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = rest.partition("@")
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
