"""Random secrets for links and tokens.

They are shown once and only their digest is stored, so that a leaked table gives no access.
"""

from __future__ import annotations

import hashlib
import secrets


def new_token() -> str:
    """Return a secret of 256 bits that fits in a URL."""
    return secrets.token_urlsafe(32)


# No salt and no slow hash: 256 random bits cannot be guessed, and a row is found by its digest.
def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
