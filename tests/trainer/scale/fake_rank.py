"""A rank without training, for tests of `processes`.

`python -m tests.trainer.scale.fake_rank BEHAVIOUR …`, one behaviour for each rank.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict

from trainer.engine.distributed.ranks import micro_scale_variable, rank_of_this_process
from trainer.engine.outcome import RunExit
from trainer.exit_codes import ExitCode

DONE = RunExit(ExitCode.COMPLETED, "completed", "All 8 steps are done.")
EXITS = {
    "completes": DONE,
    "refuses": RunExit(ExitCode.FAILED, "failed", "The model has no head.", "Choose another one."),
    "is left alone": RunExit(
        ExitCode.FAILED, "failed", "RuntimeError: Connection closed by peer.", peer_lost=True
    ),
    "has no memory": RunExit(
        ExitCode.FAILED, "failed", "The run needs more memory than there is.", retry=True
    ),
    "has enough memory at a quarter": DONE,
}


def main() -> int:
    rank = rank_of_this_process()
    assert rank is not None
    assert rank.exit_file is not None
    behaviour = sys.argv[1 + rank.rank]
    if behaviour == "waits":
        request = sys.stdin.readline()
        run_exit = RunExit(ExitCode.STOPPED, "stopped", f"The run was asked to {request.strip()}.")
    elif behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "hangs":
        time.sleep(600)
    elif behaviour == "has enough memory at a quarter" and micro_scale_variable() != 0.25:
        run_exit = EXITS["has no memory"]
    else:
        run_exit = EXITS[behaviour]
    rank.exit_file.write_text(json.dumps(asdict(run_exit)))
    return run_exit.code


if __name__ == "__main__":
    sys.exit(main())
