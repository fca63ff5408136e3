"""Prometheus metrics of this process.

Labels are kinds, states and views, never a team, a person or a run.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# A client may send any word as its method; each would add a label value for ever.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUESTS = Histogram(
    "stillroom_request_seconds", "Time until a request was answered", ["view", "method", "status"]
)
SOCKETS = Gauge("stillroom_live_sockets", "Live pages that are connected to this process")
SUBSCRIPTIONS = Gauge("stillroom_live_subscriptions", "Runs that those pages follow")
FRAMES = Counter("stillroom_live_frames", "Frames that were sent to live pages")
BYTES = Counter("stillroom_live_bytes", "Bytes of those frames")
COALESCED = Counter(
    "stillroom_live_coalesced_batches", "Batches of a run that shared a frame with a later one"
)
RESETS = Counter("stillroom_live_resets", "Frames that sent a whole curve again")
TOO_SLOW = Counter(
    "stillroom_live_too_slow", "Live pages that were disconnected because they read nothing"
)
REFUSED_SOCKETS = Counter(
    "stillroom_live_refused_sockets", "Live pages that were refused over a connection limit"
)
# Dashboards of installations query the exported name, so it stays as it is.
NOTIFY_FAILURES = Counter(
    "stillroom_doorbell_failures",
    "Notifications that Redis did not accept, and failed attempts to listen",
    ["end"],
)
