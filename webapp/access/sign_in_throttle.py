"""Limits on password attempts per pair of address and account, per address and per account.

Only digests of accounts and addresses are stored, for WINDOW. Sign-in links are not limited, so
nobody can be locked out of their own account.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from webapp.access.models import SignInTry

WINDOW = timedelta(minutes=15)
TOO_OFTEN = "A password was tried too often. Wait a quarter of an hour, or ask for a sign-in link."
# Attempts within WINDOW. Only the limit of a pair is low: with a low one per account anybody could
# lock its owner out, and with a low one per address all people behind one router.
MAX_PER_PAIR = 5
MAX_PER_ADDRESS = 50
MAX_PER_ACCOUNT = 50


def allow(account: str, address: str) -> bool:
    """Count an attempt; return False, and the password must not be checked, after too many."""
    now = timezone.now()
    SignInTry.objects.filter(at__lt=now - WINDOW).delete()
    account, address = _digest("account", account.lower()), _digest("address", address)
    # The row is created before the password is checked, so that parallel attempts are all counted.
    SignInTry.objects.create(account=account, address=address, at=now)
    attempts = list(
        SignInTry.objects.filter(Q(account=account) | Q(address=address)).values_list(
            "account", "address"
        )
    )
    return (
        attempts.count((account, address)) <= MAX_PER_PAIR
        and sum(pair[0] == account for pair in attempts) <= MAX_PER_ACCOUNT
        and sum(pair[1] == address for pair in attempts) <= MAX_PER_ADDRESS
    )


def forget(account: str, address: str) -> None:
    """Delete the attempts of this pair after a correct password: earlier typos no longer count."""
    SignInTry.objects.filter(
        account=_digest("account", account.lower()), address=_digest("address", address)
    ).delete()


def _digest(kind: str, text: str) -> str:
    """Return a keyed digest: guesses cannot be compared with it without the secret key."""
    return salted_hmac(
        f"webapp.access.sign_in_throttle.{kind}",
        text,
        secret=settings.SECRET_KEY,
        algorithm="sha256",
    ).hexdigest()
