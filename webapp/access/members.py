"""Teams and who belongs to them. A team always keeps an administrator."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from webapp.access.models import Membership, Role, Team, User
from webapp.base import celery_client


class LastAdmin(Exception):
    """The change would leave the team without an administrator."""


def create_team(name: str, admin: User) -> Team:
    """Create a team with one administrator."""
    while True:
        slug = _free_slug(name)
        try:
            with transaction.atomic():
                team = Team.objects.create(name=name, slug=slug)
                Membership.objects.create(team=team, user=admin, role=Role.ADMIN)
            return team
        except IntegrityError:
            # Another process may have taken the slug since it was free. Anything else is an error.
            if not Team.objects.filter(slug=slug).exists():
                raise


def create_account(email: str, password: str, name: str) -> User:
    """Create a person who is in no team yet."""
    return User.objects.create_user(email, password, name=name)


def set_quota(team: Team, devices: int | None) -> None:
    """Limit how many devices the team may use at once; None for no limit."""
    with transaction.atomic():
        Team.objects.filter(pk=team.pk).update(device_quota=devices)
        # A larger quota may let a waiting run start.
        transaction.on_commit(celery_client.wake_placement)


def set_interest(team: Team, interest: float | None) -> None:
    """Set the smallest difference of interest of later comparisons; None for the usual one."""
    Team.objects.filter(pk=team.pk).update(interest=interest)


def change_role(membership: Membership, role: str) -> None:
    """Give a member another role. Raises LastAdmin."""
    with transaction.atomic():
        _keep_an_admin(membership, leaves=role != Role.ADMIN)
        Membership.objects.filter(pk=membership.pk).update(role=role)


def remove(membership: Membership) -> None:
    """Take a member out of the team. Raises LastAdmin."""
    with transaction.atomic():
        _keep_an_admin(membership, leaves=True)
        membership.delete()


def _free_slug(name: str) -> str:
    """Return a slug for a team of that name that no team has at present."""
    # 40 of the 50 characters of a slug leave room for a number. A name without ASCII letters or
    # digits has an empty slug.
    stem = slugify(name)[:40] or "team"
    used_slugs = set(Team.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    # One of as many candidates as there are used slugs, and one more, is free.
    return next(
        candidate
        for number in range(1, len(used_slugs) + 2)
        if (candidate := stem if number == 1 else f"{stem}-{number}") not in used_slugs
    )


def _keep_an_admin(membership: Membership, leaves: bool) -> None:
    # Lock the team: two administrators who remove each other at once would leave none.
    Team.objects.select_for_update().get(pk=membership.team_id)
    other_admins = Membership.objects.filter(team=membership.team_id, role=Role.ADMIN).exclude(
        pk=membership.pk
    )
    if leaves and membership.role == Role.ADMIN and not other_admins.exists():
        raise LastAdmin("A team needs an administrator. Make somebody else one first.")
