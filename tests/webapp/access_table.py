"""Who gets what at every address: the one written table that the crawl compares with the program.

A row is an address by name, with a method and what each of the cast gets, in this order: anonymous,
guest (with a share link to the run), Charlie (a stranger, admin elsewhere), Bob (viewer), Erin
(editor), Alice (admin).

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
OPERATOR = "door door no   no   no   no"

TABLE: dict[tuple[str, str], str] = {
    ("healthz", "GET"): PUBLIC,
    ("readyz", "GET"): PUBLIC,
    ("metrics", "GET"): "none none none none none none",  # for machines, by token or address
    ("manual", "GET"): MEMBER,
    ("manual_page", "GET"): MEMBER,
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
    ("make_token", "POST"): "door door in   no   in   in",
    ("revoke_token", "POST"): EDITOR,  # it is Erin's own
    # Sharing
    ("shared", "GET"): PUBLIC,
    ("share", "GET"): EDITOR,
    ("share", "POST"): EDITOR,
    ("revoke_share", "POST"): EDITOR,
    # Comparisons; the guest's link is to the run and not to the comparison
    ("compare", "GET"): VIEWER,
    ("compare_series", "GET"): VIEWER,
    ("side_by_side", "GET"): SHARED,
    ("save_comparison", "POST"): "door door in   no   in   in",
    ("share_new_comparison", "POST"): "door door in   no   in   in",
    ("comparison", "GET"): "door none none in   in   in",
    ("comparison_series", "GET"): "door none none in   in   in",
    ("save_comparison_changes", "POST"): EDITOR,
    ("delete_comparison", "POST"): EDITOR,
    ("share_comparison", "GET"): EDITOR,
    ("share_comparison", "POST"): EDITOR,
    ("revoke_comparison_share", "POST"): EDITOR,
    # Runs
    ("runs", "GET"): MEMBER,
    ("matching_runs", "GET"): MEMBER,
    ("completions", "GET"): MEMBER,
    ("saved_view", "GET"): VIEWER,
    ("save_view", "POST"): "door door in   no   in   in",
    ("change_view", "POST"): EDITOR,
    ("rename_view", "POST"): EDITOR,
    ("delete_view", "POST"): EDITOR,
    ("run", "GET"): SHARED,
    ("series_json", "GET"): SHARED,
    ("series_csv", "GET"): SHARED,
    ("series_parquet", "GET"): SHARED,
    ("frontier", "GET"): SHARED,
    ("frontier_json", "GET"): SHARED,
    ("calibration", "GET"): SHARED,
    ("tokens", "GET"): SHARED,
    ("privileged", "GET"): SHARED,
    ("rollouts", "GET"): SHARED,
    ("rollout", "GET"): SHARED,
    ("system", "GET"): SHARED,
    ("log", "GET"): SHARED,
    ("log_text", "GET"): SHARED,
    # Secrets in logged files are not masked, so that guests see none of them.
    ("files", "GET"): VIEWER,
    ("run_file", "GET"): VIEWER,
    ("config", "GET"): SHARED,
    ("config_yaml", "GET"): SHARED,
    ("checkpoints", "GET"): SHARED,
    ("checkpoint", "GET"): VIEWER,
    ("stop", "POST"): EDITOR,
    ("pause", "POST"): EDITOR,
    ("resume", "POST"): EDITOR,
    ("clone", "POST"): EDITOR,
    ("end", "POST"): EDITOR,
    ("reopen", "POST"): EDITOR,
    ("rename", "POST"): EDITOR,
    ("notes", "GET"): EDITOR,
    ("notes", "POST"): EDITOR,
    ("delete", "GET"): EDITOR,
    # Decided for each of the selected runs, see tests/webapp/pages/test_selected_runs.py.
    ("selected_runs", "POST"): MEMBER,
    ("deleted_runs", "GET"): "door door in   no   in   in",
    ("tag_names", "GET"): MEMBER,
    # Jobs over whole data sets
    ("jobs", "GET"): MEMBER,
    ("new_job", "GET"): MEMBER,
    ("new_job", "POST"): "door door in   no   in   in",
    ("check_job", "POST"): MEMBER,
    ("job", "GET"): VIEWER,
    ("stop_job", "POST"): EDITOR,
    ("delete_job", "POST"): EDITOR,
    ("job_csv", "GET"): VIEWER,
    ("job_json_lines", "GET"): VIEWER,
    ("job_parquet", "GET"): VIEWER,
    # The queue and the machines, which belong to nobody of these: operators have tests of their own
    ("queue", "GET"): MEMBER,
    ("move_in_queue", "POST"): EDITOR,
    ("set_priority", "POST"): EDITOR,
    ("hold", "POST"): EDITOR,
    ("machines", "GET"): MEMBER,
    ("drain", "POST"): OPERATOR,
    ("undrain", "POST"): OPERATOR,
    ("forget", "POST"): OPERATOR,
    ("set_quota", "POST"): "door door in   no   no   in",
    ("set_interest", "POST"): "door door in   no   no   in",
    # Preparing runs; Charlie does this in his own team. A viewer may fill the forms in but start
    # and store nothing.
    ("new_run", "GET"): MEMBER,
    ("new_run", "POST"): "door door in   no   in   in",
    ("check_run", "POST"): MEMBER,
    ("preflight_run", "POST"): "door door in   no   in   in",
    ("import_run", "GET"): MEMBER,
    ("import_run", "POST"): "door door in   no   in   in",
    ("bring_runs", "GET"): MEMBER,
    ("bring_runs", "POST"): "door door in   no   in   in",
    ("experiments", "GET"): MEMBER,
    ("experiment", "GET"): VIEWER,
    ("stop_experiment", "POST"): EDITOR,
    ("repeat_run", "POST"): EDITOR,
    ("delete_experiment", "POST"): EDITOR,
    ("reproduce", "GET"): "door door in   no   in   in",
    ("reproduce", "POST"): "door door in   no   in   in",
    ("run_import", "GET"): VIEWER,
    ("data", "GET"): MEMBER,
    ("new_data", "GET"): MEMBER,
    ("new_data", "POST"): "door door in   no   in   in",
    ("preview_data", "GET"): VIEWER,
    ("data_reading", "GET"): VIEWER,
    ("data_set", "GET"): VIEWER,
    ("hold_out", "POST"): EDITOR,
    ("mark_held_out", "POST"): EDITOR,
    ("delete_data", "POST"): EDITOR,
    ("delete_model", "POST"): EDITOR,
    ("models", "GET"): MEMBER,
    ("new_model", "GET"): MEMBER,
    ("new_model", "POST"): "door door in   no   in   in",
    ("recipes", "GET"): MEMBER,
    ("recipe", "GET"): MEMBER,
}

# Posts that compute and change nothing.
READING_POSTS = ("check_run", "check_job", "import_run")

# What each of them hears on the live socket about the run, and whether the list names it.
SOCKET: dict[str, str] = {
    "subscribe": "closed  delta   refused delta   delta   delta",
    "subscribe_list": "closed  silence silence runs    runs    runs",
    # Charlie hears of his own team's: none
    "subscribe_jobs": "closed  silence jobs    jobs    jobs    jobs",
}
