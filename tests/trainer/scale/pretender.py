"""A rank that only pretends: `python -m tests.trainer.scale.pretender BEHAVIOUR …`, one behaviour
for each rank.
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
from trainer.exit_codes import COMPLETED, FAILED, STOPPED

DONE = RunExit(COMPLETED, "completed", "All 8 steps are done.")
ENDINGS = {
    "completes": DONE,
    "refuses": RunExit(FAILED, "failed", "The model has no head.", "Choose another one."),
    "is left alone": RunExit(
        FAILED, "failed", "RuntimeError: Connection closed by peer.", lost=True
    ),
    "has no memory": RunExit(
        FAILED, "failed", "The run needs more memory than there is.", again=True
    ),
    "has enough memory at a quarter": DONE,
}


def main() -> int:
    place = rank_of_this_process()
    assert place is not None
    assert place.ending is not None
    behaviour = sys.argv[1 + place.rank]
    if behaviour == "waits":
        told = sys.stdin.readline()
        ending = RunExit(STOPPED, "stopped", f"The run was asked to {told.strip()}.")
    elif behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "hangs":
        time.sleep(600)
    elif behaviour == "has enough memory at a quarter" and micro_scale_variable() != 0.25:
        ending = ENDINGS["has no memory"]
    else:
        ending = ENDINGS[behaviour]
    place.ending.write_text(json.dumps(asdict(ending)))
    return ending.code


if __name__ == "__main__":
    sys.exit(main())
