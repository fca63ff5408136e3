"""Who gets what at every address: the one written table that the crawl compares with the program.

A row is an address by name, with a method and what each of the cast gets, in this order: anonymous, guest (with a share link to the run),
Charlie (a stranger, admin elsewhere), Bob (viewer), Erin (editor), Alice (admin).

    in    the view does its work: a page, a redirect, or a complaint about what was typed
    door  the way to signing in
    none  404: for them it does not exist
    no    403

Methods without a row are refused to everybody and change nothing. HEAD is as GET.
"""

from __future__ import annotations

CAST = ("anonymous", "guest", "charlie", "bob", "erin", "alice")

PUBLIC = "in   in   in   in   in   in"
MEMBER = "door door in   in   in   in"  # any signed-in person, about their own team
SHARED = "door in   none in   in   in"  # pages of the shared run
VIEWER = "door door none in   in   in"
EDITOR = "door door none no   in   in"
ADMIN = "door door none no   no   in"

TABLE: dict[tuple[str, str], str] = {
    ("healthz", "GET"): PUBLIC,
    # People and teams
    ("sign_in", "GET"): PUBLIC,
    ("sign_in", "POST"): PUBLIC,
    ("sign_in_link", "GET"): PUBLIC,
    ("sign_in_link", "POST"): PUBLIC,
    ("sign_out", "POST"): PUBLIC,
    ("invitation", "GET"): PUBLIC,
    ("invitation", "POST"): PUBLIC,
    ("account", "GET"): MEMBER,
    ("account", "POST"): MEMBER,
    ("team", "GET"): MEMBER,
    ("invite", "POST"): "door door in   no   no   in",
    ("withdraw_invitation", "POST"): ADMIN,
    ("change_role", "POST"): ADMIN,
    ("remove_member", "POST"): EDITOR,  # it is Erin's own membership, and everybody may leave
    ("switch_team", "POST"): VIEWER,
    # Sharing
    ("shared", "GET"): PUBLIC,
    ("share", "GET"): EDITOR,
    ("share", "POST"): EDITOR,
    ("revoke_share", "POST"): EDITOR,
    # Runs
    ("runs", "GET"): MEMBER,
    ("run", "GET"): SHARED,
    ("series_json", "GET"): SHARED,
    ("series_csv", "GET"): SHARED,
    ("frontier", "GET"): SHARED,
    ("frontier_json", "GET"): SHARED,
    ("rollouts", "GET"): SHARED,
    ("rollout", "GET"): SHARED,
    ("log", "GET"): SHARED,
    ("log_text", "GET"): SHARED,
    ("config", "GET"): SHARED,
    ("config_yaml", "GET"): SHARED,
    ("checkpoints", "GET"): SHARED,
    ("checkpoint", "GET"): VIEWER,
    ("stop", "POST"): EDITOR,
    ("resume", "POST"): EDITOR,
    ("clone", "POST"): EDITOR,
    ("delete", "POST"): EDITOR,
    # Preparing runs; Charlie does this in his own team. A viewer may fill the forms in but start and store nothing.
    ("new_run", "GET"): MEMBER,
    ("new_run", "POST"): "door door in   no   in   in",
    ("check_run", "POST"): MEMBER,
    ("import_run", "POST"): MEMBER,
    ("data", "GET"): MEMBER,
    ("new_data", "GET"): MEMBER,
    ("new_data", "POST"): "door door in   no   in   in",
    ("preview_data", "GET"): VIEWER,
    ("data_set", "GET"): VIEWER,
    ("models", "GET"): MEMBER,
    ("new_model", "GET"): MEMBER,
    ("new_model", "POST"): "door door in   no   in   in",
    ("recipes", "GET"): MEMBER,
    ("recipe", "GET"): MEMBER,
}

# Posts that compute and change nothing.
READING_POSTS = ("check_run", "import_run")

# What each of them hears on the live socket about the run, and whether the list names it.
SOCKET: dict[str, str] = {
    "subscribe": "closed  delta   refused delta   delta   delta",
    "subscribe_list": "closed  silence silence runs    runs    runs",
}
