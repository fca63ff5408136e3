"""Addresses of people and teams."""

from __future__ import annotations

from django.urls import path

from webapp.pages.teams import account, invitation, sign_in, team, tokens

urlpatterns = [
    path("sign-in/", sign_in.sign_in, name="sign_in"),
    path("sign-in/<str:token>/", sign_in.sign_in_link, name="sign_in_link"),
    path("sign-out/", sign_in.sign_out, name="sign_out"),
    path("account/", account.account, name="account"),
    path("invitations/<str:token>/", invitation.invitation, name="invitation"),
    path("team/", team.team, name="team"),
    path("team/quota/", team.set_quota, name="set_quota"),
    path("team/interest/", team.set_interest, name="set_interest"),
    path("team/invite/", team.invite, name="invite"),
    path(
        "team/invitations/<int:invitation_id>/withdraw/",
        team.revoke_invitation,
        name="withdraw_invitation",
    ),
    path("team/members/<int:membership_id>/role/", team.change_role, name="change_role"),
    path("team/members/<int:membership_id>/remove/", team.remove, name="remove_member"),
    path("team/tokens/", tokens.make, name="make_token"),
    path("team/tokens/<int:token_id>/revoke/", tokens.revoke, name="revoke_token"),
    path("teams/<slug:slug>/switch/", team.switch, name="switch_team"),
]
