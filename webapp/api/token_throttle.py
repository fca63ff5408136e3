"""Limits how many wrong API tokens one address may try.

The same wrong token counts once, because programs keep using a token that was revoked. A token that
worked lately is always checked, so that somebody who guesses tokens cannot lock out a cluster
behind the same address.
"""

from __future__ import annotations

import time
from collections import OrderedDict

WINDOW_SECONDS = 900.0
# Different wrong tokens of one address within the window.
MOST_WRONG = 50
# Addresses, and likewise tokens that have worked: what somebody sends must not fill the memory.
REMEMBERED = 10_000


class TokenThrottle:
    """Counts of one web process. Tokens are passed as digests."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._right: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str, token: str) -> int:
        """Return 0 if the token may be checked now, else the seconds to wait."""
        now = time.monotonic()
        wrong = {
            wrong_token: until
            for wrong_token, until in self._wrong.get(address, {}).items()
            if until > now
        }
        if len(wrong) < MOST_WRONG or token in wrong or self._right.get(token, 0.0) > now:
            return 0
        return 1 + int(min(wrong.values()) - now)

    def note(self, address: str, token: str, right: bool) -> None:
        """Record whether the token was right."""
        until = time.monotonic() + WINDOW_SECONDS
        if right:
            self._right[token] = until
        else:
            self._right.pop(token, None)
            wrong_tokens = self._wrong.setdefault(address, {})
            wrong_tokens[token] = until
            self._wrong.move_to_end(address)
            # A token that has worked before is checked past the limit, so it may be one too many.
            if len(wrong_tokens) > MOST_WRONG:
                del wrong_tokens[min(wrong_tokens, key=wrong_tokens.__getitem__)]
        for remembered in (self._right, self._wrong):
            while len(remembered) > REMEMBERED:
                remembered.popitem(last=False)
