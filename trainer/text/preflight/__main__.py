"""The process that makes the checks of a preflight.

    python -m trainer.text.preflight SPEC SAMPLE MEMORY

It writes JSON lines: {"phase": …} before each check, {"finding": …} for each finding and, at the
end, {"done": true}. `supervision` starts it and can kill it at any time.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from trainer.spec import load
from trainer.text.preflight.findings import Finding


def main() -> None:
    path, sample, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _limit(memory)
    leave_out_torch()
    # Only now, because it imports transformers.
    from trainer.text.preflight.checks import check_run
    from trainer.text.preflight.reporter import Reporter

    reporter = Reporter(_write_finding, lambda phase: _write({"phase": phase}))
    check_run(load(path.read_text(encoding="utf-8")), sample, reporter)
    _write({"done": True})


def leave_out_torch() -> None:
    """Make transformers behave as where torch is not installed.

    It imports torch wherever it finds it, which takes seconds; its tokenizers do not need it.
    """
    sys.modules["torch"] = cast(Any, None)


def _limit(memory: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    # The limit may be lowered only.
    limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _write_finding(finding: Finding) -> None:
    _write({"finding": asdict(finding)})


def _write(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
