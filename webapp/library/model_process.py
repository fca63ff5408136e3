"""The process that reads the files of models.

    python -m webapp.library.model_process

Its input is one line of JSON, [task, folders, ids]; its output is one line, [value, reason]: the
reason why the files are unusable, or an empty text. It may be killed at any time and limits itself,
because its input may be hostile.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Bytes of private memory; with its libraries the process has 300 MB. A tokenizer needs nine times
# its own length, so that one of 28 MB is the largest that is read.
MEMORY = 260 * 2**20
CPU_SECONDS = 20


def main() -> None:
    task, folders, ids = json.loads(sys.stdin.readline())
    _limit(resource.RLIMIT_DATA, MEMORY)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    # A core file would have the memory of this process on the disk.
    _limit(resource.RLIMIT_CORE, 0)
    paths = [{name: Path(path) for name, path in folder.items()} for folder in folders]
    # Imported under the limits: the libraries reserve memory when they start.
    from webapp.library.model_files import UnusableModel

    try:
        answer = [_done(task, paths, ids), ""]
    except UnusableModel as problem:
        answer = [None, str(problem)]
    except OSError as problem:
        reason = f"A file of the model cannot be read ({problem.strerror}). Upload it again."
        answer = [None, reason]
    # Lone surrogates in a name make the text no UTF-8, but good JSON.
    print(json.dumps(answer))


def _done(task: str, folders: list[dict[str, Path]], ids: list[int]) -> Any:
    from webapp.library import model_files

    if task == "text":
        return model_files.text_of(folders[0], ids)
    if task == "difference":
        return model_files.vocabulary_difference(*folders)
    return asdict(model_files.facts(folders[0], with_tokenizer=task == "facts"))


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    # A limit may be lowered only.
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, hard))


if __name__ == "__main__":
    main()
