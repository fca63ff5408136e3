"""The real trainer, waiting after one step for a signal, so that a test disturbs it there.

Workers start it where `STILLROOM_TRAINER` says so; `WAIT_AFTER_STEP` names the step.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from unittest.mock import patch

from trainer.cli import main
from trainer.events import EventLog

WAIT_AFTER_STEP = int(os.environ["WAIT_AFTER_STEP"])
emit = EventLog.emit


def emit_and_wait(log: EventLog, type: str, **fields: Any) -> None:
    emit(log, type, **fields)
    if type == "metrics" and fields["step"] == WAIT_AFTER_STEP:
        os.read(woken, 1)


if __name__ == "__main__":
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    with patch.object(EventLog, "emit", emit_and_wait):
        sys.exit(main())
