"""The forms of people and teams."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import authenticate, password_validation

from webapp.access.models import Role, Scope, User


class SignInForm(forms.Form):
    """Email and password."""

    email = forms.EmailField(
        label="Email",
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    # A password may begin or end with spaces.
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "email" in cleaned and "password" in cleaned:
            cleaned["user"] = authenticate(
                username=cleaned["email"].lower(), password=cleaned["password"]
            )
            if cleaned["user"] is None:
                raise forms.ValidationError("No account has this address and password.")
        return cleaned


class AccountForm(forms.Form):
    """Name and an optional new password."""

    name = forms.CharField(
        label="Name", max_length=80, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        label="New password",
        strip=False,
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters. Leave empty to keep the current one.",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            password_validation.validate_password(password, self.user)
        return password


class JoinForm(AccountForm):
    """A new account for somebody who accepts an invitation."""

    email = forms.EmailField(
        label="Email", widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )
    field_order = ("name", "email", "password")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The validators compare a password with the person's data; a new account has none yet.
        super().__init__(*args, user=User(), **kwargs)
        self.fields["password"].required = True
        self.fields["password"].label = "Password"
        self.fields["password"].help_text = "At least 10 characters."

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        if User.objects.filter(email=email).exists():
            raise forms.ValidationError(
                "There is an account with this address. Sign in first, then open the "
                "invitation again."
            )
        return email


class RoleForm(forms.Form):
    """A role in a team."""

    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.VIEWER)


class TokenForm(forms.Form):
    """A token for a program."""

    DAYS = (
        ("7", "in 7 days"),
        ("30", "in 30 days"),
        ("90", "in 90 days"),
        ("365", "in a year"),
        ("", "never"),
    )

    name = forms.CharField(
        label="Name", max_length=80, help_text="Where you use it, such as the name of a cluster."
    )
    scope = forms.ChoiceField(label="It may", choices=Scope.choices, initial=Scope.LOG)
    days = forms.ChoiceField(label="It expires", choices=DAYS, initial="90", required=False)


class QuotaForm(forms.Form):
    """The most devices that a team may use at once; None for no limit."""

    devices = forms.IntegerField(
        label="Devices at once, at most", required=False, min_value=0, max_value=1_000_000
    )


class InterestForm(forms.Form):
    """The smallest difference of interest of a team's comparisons; None for the usual one."""

    interest = forms.FloatField(required=False, min_value=1e-6, max_value=1e6)
