"""The live protocol: a WebSocket that sends what is new after a cursor.

messages.py defines the messages, docs/live-protocol.md the guarantees. Each page has one
`LiveSocket` (consumer.py). Each process has one `Hub`, which receives Redis notices, shares
database reads (reader_threads.py, frames.py), limits connections (connection_limits.py) and checks
access again (session_access.py).
"""
