"""URLs of the pages of data sets and models."""

from __future__ import annotations

from django.urls import path

from webapp.pages.library import data, models

urlpatterns = [
    path("data/", data.data_sets, name="data"),
    path("data/new/", data.new_data, name="new_data"),
    path("data/new/preview/", data.preview, name="preview_data"),
    path("data/readings/<int:reading_id>/", data.data_reading, name="data_reading"),
    path("data/<int:data_id>/", data.data_set, name="data_set"),
    path("data/<int:data_id>/delete/", data.delete_data, name="delete_data"),
    path("data/<int:data_id>/hold-out/", data.hold_out, name="hold_out"),
    path("data/<int:data_id>/held-out/", data.mark_held_out, name="mark_held_out"),
    path("models/", models.models, name="models"),
    path("models/new/", models.new_model, name="new_model"),
    path("models/<int:model_id>/delete/", models.delete_model, name="delete_model"),
]
