"""How often a password may be tried: by one address for one account, by one address, and for one
account from everywhere.

Every try is a row before the password is looked at, so that many at once cannot slip past the
count; a right password takes its rows away. Only digests of accounts and addresses are kept, for
WINDOW. Sign-in links are not counted: nobody can be locked out of their own account.
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
MOST_OF_PAIR = 5
MOST_OF_ADDRESS = 50
MOST_OF_ACCOUNT = 50


def allow(account: str, address: str) -> bool:
    """Count a try; False if there have been too many, and the password must not be looked at."""
    now = timezone.now()
    SignInTry.objects.filter(at__lt=now - WINDOW).delete()
    account, address = _digest("account", account.lower()), _digest("address", address)
    SignInTry.objects.create(account=account, address=address, at=now)
    recent = SignInTry.objects.filter(Q(account=account) | Q(address=address)).values_list(
        "account", "address"
    )
    tries = list(recent)
    of_account, of_address = (
        sum(a == account for a, _ in tries),
        sum(b == address for _, b in tries),
    )
    of_pair = tries.count((account, address))
    return (
        of_pair <= MOST_OF_PAIR and of_address <= MOST_OF_ADDRESS and of_account <= MOST_OF_ACCOUNT
    )


def forget(account: str, address: str) -> None:
    """The password was right: earlier slips of this person do not count any more."""
    SignInTry.objects.filter(
        account=_digest("account", account.lower()), address=_digest("address", address)
    ).delete()


def _digest(kind: str, text: str) -> str:
    return salted_hmac(
        f"webapp.access.sign_in_throttle.{kind}",
        text,
        secret=settings.SECRET_KEY,
        algorithm="sha256",
    ).hexdigest()
