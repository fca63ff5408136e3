"""The event log and the declarations of its events.

`log` writes and reads logs, `event_types` lists one declaration per type of event, and `reference`
writes docs/events.md from them. Imports neither torch nor numpy.
"""

from trainer.events.log import (
    DISK_FULL_ERRNOS,
    HEAD,
    EventLog,
    LogReader,
    encode_line,
    is_seq,
    last_seq,
    read,
    segments,
    sync_folder,
    to_json_value,
)

__all__ = [
    "DISK_FULL_ERRNOS",
    "HEAD",
    "EventLog",
    "LogReader",
    "encode_line",
    "is_seq",
    "last_seq",
    "read",
    "segments",
    "sync_folder",
    "to_json_value",
]
