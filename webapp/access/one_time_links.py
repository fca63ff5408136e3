"""One-time links to sign in and to join a team.

Each expires, and one conditional UPDATE makes sure that it is used at most once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db import transaction
from django.utils import timezone

from webapp.access.digests import digest, new_token
from webapp.access.models import Invitation, Membership, SignInLink, Team, User

SIGN_IN_LASTS = timedelta(hours=24)
INVITATION_LASTS = timedelta(days=7)
Link = TypeVar("Link", SignInLink, Invitation)


class UnusableLink(Exception):
    """The link is unknown, used or expired; the message says which and what to do."""


def make_sign_in_link(user: User) -> str:
    """Create a link that signs `user` in once, and return its token."""
    token = new_token()
    SignInLink.objects.create(
        user=user, digest=digest(token), expires_at=timezone.now() + SIGN_IN_LASTS
    )
    return token


def find_sign_in_link(token: str) -> SignInLink:
    """Return the valid link of a token. Raises UnusableLink."""
    return _require_usable(
        SignInLink.objects.select_related("user").filter(digest=digest(token)).first(),
        "Make another one with `python manage.py sign_in_link EMAIL` on the server.",
    )


def use_sign_in_link(token: str) -> User:
    """Use a link and return the person whom it signs in. Raises UnusableLink."""
    link = find_sign_in_link(token)
    # If another request has used the link since it was read, reading it again raises with the
    # reason. The same holds for an invitation below.
    if not SignInLink.objects.filter(pk=link.pk, used_at=None).update(used_at=timezone.now()):
        find_sign_in_link(token)
    return link.user


def invite(team: Team, role: str, inviter: User) -> str:
    """Create an invitation to `team` and return its token."""
    token = new_token()
    Invitation.objects.create(
        team=team,
        role=role,
        created_by=inviter,
        digest=digest(token),
        expires_at=timezone.now() + INVITATION_LASTS,
    )
    return token


def find_invitation(token: str) -> Invitation:
    """Return the valid invitation of a token. Raises UnusableLink."""
    return _require_usable(
        Invitation.objects.select_related("team", "created_by")
        .filter(digest=digest(token))
        .first(),
        "Ask an administrator of the team for another one.",
    )


def accept_invitation(token: str, user: User) -> Team:
    """Make `user` a member; somebody who is one already keeps their role. Raises UnusableLink."""
    invitation = find_invitation(token)
    with transaction.atomic():
        if not Invitation.objects.filter(pk=invitation.pk, used_at=None).update(
            used_at=timezone.now(), used_by=user
        ):
            find_invitation(token)
        Membership.objects.get_or_create(
            team=invitation.team, user=user, defaults={"role": invitation.role}
        )
    return invitation.team


def _require_usable(link: Link | None, remedy: str) -> Link:
    if link is None:
        raise UnusableLink(
            f"This link is not known here; it may have been cut short or revoked. {remedy}"
        )
    if link.used_at is not None:
        raise UnusableLink(f"This link was used already, and it works only once. {remedy}")
    if link.expires_at <= timezone.now():
        raise UnusableLink(f"This link has expired. {remedy}")
    return link
