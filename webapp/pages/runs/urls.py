"""URLs of the runs list, of the pages that add runs, of the recipes and of the pages of one run."""

from __future__ import annotations

from django.urls import path

from webapp.pages.runs import (
    checkpoints,
    config,
    control,
    files,
    import_runs,
    new_run,
    overview,
    panels,
    recipes,
    rollouts,
    run_list,
    series,
)

urlpatterns = [
    path("", run_list.runs, name="runs"),
    # Before "runs/<str:run_id>/", which would take "new", "bring" and "import" for ids of runs.
    path("runs/new/", new_run.new_run, name="new_run"),
    path("runs/new/check/", new_run.check_run, name="check_run"),
    path("runs/new/preflight/", new_run.preflight_run, name="preflight_run"),
    path("runs/bring/", import_runs.import_from_files, name="bring_runs"),
    path("runs/import/", new_run.import_run, name="import_run"),
    path("recipes/", recipes.recipes, name="recipes"),
    path("recipes/<slug:name>/", recipes.recipe, name="recipe"),
    path("runs/<str:run_id>/", overview.overview, name="run"),
    path("runs/<str:run_id>/series.json", series.series_json, name="series_json"),
    path("runs/<str:run_id>/series.csv", series.series_csv, name="series_csv"),
    path("runs/<str:run_id>/series.parquet", series.series_parquet, name="series_parquet"),
    path("runs/<str:run_id>/frontier/", panels.frontier, name="frontier"),
    path("runs/<str:run_id>/frontier.json", panels.frontier_json, name="frontier_json"),
    path("runs/<str:run_id>/calibration/", panels.calibration, name="calibration"),
    path("runs/<str:run_id>/tokens/", panels.tokens, name="tokens"),
    path("runs/<str:run_id>/privileged/", panels.privileged, name="privileged"),
    path("runs/<str:run_id>/rollouts/", rollouts.rollouts, name="rollouts"),
    path(
        "runs/<str:run_id>/rollouts/<int:attempt>/<int:seq>/<int:offset>/",
        rollouts.rollout,
        name="rollout",
    ),
    path("runs/<str:run_id>/log/", overview.log, name="log"),
    path("runs/<str:run_id>/log.txt", overview.log_text, name="log_text"),
    path("runs/<str:run_id>/files/", files.files, name="files"),
    path("runs/<str:run_id>/files/<path:path>", files.run_file, name="run_file"),
    path("runs/<str:run_id>/config/", config.config, name="config"),
    path("runs/<str:run_id>/config.yaml", config.config_yaml, name="config_yaml"),
    path("runs/<str:run_id>/checkpoints/", checkpoints.checkpoints, name="checkpoints"),
    path(
        "runs/<str:run_id>/checkpoints/<int:step>/download/",
        checkpoints.download,
        name="checkpoint",
    ),
    path("runs/<str:run_id>/stop/", control.stop, name="stop"),
    path("runs/<str:run_id>/pause/", control.pause, name="pause"),
    path("runs/<str:run_id>/resume/", control.resume, name="resume"),
    path("runs/<str:run_id>/end/", control.end, name="end"),
    path("runs/<str:run_id>/reopen/", control.reopen, name="reopen"),
    path("runs/<str:run_id>/restore/", control.restore, name="restore"),
    path("runs/<str:run_id>/clone/", control.clone, name="clone"),
    path("runs/<str:run_id>/delete/", control.delete, name="delete"),
]
