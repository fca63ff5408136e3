"""The live protocol: a WebSocket that says what is new past a cursor.

Client: `{"type":"subscribe","run":ID,"keys":[…]|null,"since":n,"width":w}`, `{"type":"unsubscribe","run":ID}`, `{"type":"subscribe_list"}`.
Server: `delta` (points and kinds of events past the cursor), `reset` (whole series in buckets, when more lies past the cursor than would
be drawn, or when the run went back to a checkpoint), `refused`, `runs` (rows of the list that changed), `error`.

Delivery: every frame carries the cursor up to which it is complete. After a loss of whatever kind the client subscribes again from its
last cursor and misses nothing. A client gets at most five frames a second; what happened between two frames is in the second.
"""
