"""The live protocol: a WebSocket that says what is new past a cursor. messages.py defines it,
docs/live-protocol.md says what it promises.

One `LiveSocket` (consumer.py) per page; one `Hub` per process, which hears the doorbell, shares
reads (reading.py, frames.py), counts sockets (census.py) and asks again who may see what
(guard.py).
"""
