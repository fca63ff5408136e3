"""The process that judges answers.

    python -m trainer.text.verifiers.judge_process DEFINITION SECONDS

It writes a line "ready" when it is. A request is one JSON line, a list of [completion, reference];
each pair is answered by one JSON line [correct, answer] as soon as it is judged. A list of plain
texts asks how they are read as references: [null, answer, mark]. The process ends with its standard
input, can be killed at any time, has a memory limit, and ends itself if it hangs without a parent.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys

from trainer.text.verifiers.judges import judge_of
from trainer.text.verifiers.records import Judge

MEMORY = 4 * 2**30  # bytes of address space
# Seconds after which a verdict that the parent did not end ends the process.
GRACE = 5.0


def main() -> None:
    definition, seconds = sys.argv[1], float(sys.argv[2])
    _prepare()
    judge = judge_of(definition)
    _write("ready")
    for line in sys.stdin.buffer:
        for item in json.loads(line):
            # Nothing handles SIGALRM, so it ends the process, even inside a long call into C.
            signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
            _write(_answer(judge, item))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _prepare() -> None:
    """Ignore signals to the process group, because the parent decides when this process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    # The limit may be lowered only.
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _answer(judge: Judge, item: str | list[str]) -> list[object]:
    """[correct, answer]; any error while judging gives the verdict None ("could not tell")."""
    try:
        if isinstance(item, str):
            mark = getattr(judge, "reference_mark", lambda text: "")(item)
            return [None, judge.read_reference(item), mark]
        verdict = judge.judge(*item)
        return [verdict.correct, verdict.answer]
    except Exception:
        return [None, ""]


def _write(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
