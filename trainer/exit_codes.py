"""The exit codes of the trainer, by which the process that started it decides what to do next.

The numbers follow sysexits.h where it has a fitting one; 65 and 71 are used in a wider sense.
"""

from __future__ import annotations

COMPLETED = 0
REFUSED = 64  # the definition, the data or a model cannot be used
NOT_A_NUMBER = 65  # the loss or its gradient is not finite
PEER_LOST = 69  # several machines: the others do not answer any more
FAILED = 70  # any other failure
PROCESS_DIED = 71  # several machines: a process died here; the run may resume from a checkpoint
DISK_FULL = 74
STOPPED = 75  # stopped on request, after a checkpoint
