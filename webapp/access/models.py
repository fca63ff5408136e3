"""Users, teams, memberships, invitations, one-time sign-in links and API tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    """Creates users by email address, stored in lower case so that one address is one user."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    # Django's ModelBackend looks for the user of a sign-in by this method.
    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser):
    """A person who signs in by email address, with a password or a one-time link.

    An operator manages the machines of the installation; this does not depend on roles in teams.
    """

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=80, blank=True)
    is_active = models.BooleanField(default=True)
    is_operator = models.BooleanField(default=False)
    joined_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email


class Role(models.TextChoices):
    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class Team(models.Model):
    """Users who share runs. `device_quota` limits the devices of all its active runs together.

    `interest` is δ, the smallest difference of interest of its comparisons; None for the usual one.
    """

    name = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    members = models.ManyToManyField(User, through="Membership", related_name="teams")
    device_quota = models.IntegerField(null=True)
    interest = models.FloatField(null=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="one_membership_per_team")
        ]


class Invitation(models.Model):
    """A link that makes the first user who opens it a member. Only its token's digest is stored."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    role = models.CharField(max_length=8, choices=Role)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")


class SignInTry(models.Model):
    """A password attempt; account and address are digests. Deleted by sign_in_throttle."""

    account = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        # Three indexes, because `allow` looks for rows of the account or of the address and deletes
        # old rows by time.
        indexes = [models.Index(fields=[name]) for name in ("account", "address", "at")]


class SignInLink(models.Model):
    """A link that signs one user in, once. Only its token's digest is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class Scope(models.TextChoices):
    """What a token allows a program to do; LOG includes READ."""

    LOG = "log", "log runs and read"
    READ = "read", "read only"


class ApiToken(models.Model):
    """A token that gives a program access to one team. Only its digest is stored.

    It stops working when its creator may no longer start runs in that team.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=4, choices=Scope)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        # The table and its migrations belong to the app `clients`.
        app_label = "clients"

    @property
    def is_open(self) -> bool:
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )
