"""Where a run is prepared: the form, data sets, models and recipes."""

from __future__ import annotations

from django.urls import path

from webapp.pages.library import data, models
from webapp.pages.runs import import_runs, new_run, recipes

urlpatterns = [
    path("runs/new/", new_run.new_run, name="new_run"),
    path("runs/new/check/", new_run.check_run, name="check_run"),
    path("runs/bring/", import_runs.bring_runs, name="bring_runs"),
    path("runs/import/", new_run.import_run, name="import_run"),
    path("data/", data.data_sets, name="data"),
    path("data/new/", data.new_data, name="new_data"),
    path("data/new/preview/", data.preview, name="preview_data"),
    path("data/<int:data_id>/", data.data_set, name="data_set"),
    path("data/<int:data_id>/delete/", data.delete_data, name="delete_data"),
    path("models/", models.models, name="models"),
    path("models/new/", models.new_model, name="new_model"),
    path("models/<int:model_id>/delete/", models.delete_model, name="delete_model"),
    path("recipes/", recipes.recipes, name="recipes"),
    path("recipes/<slug:name>/", recipes.recipe, name="recipe"),
]
