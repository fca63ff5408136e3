"""Addresses of experiments."""

from __future__ import annotations

from django.urls import path

from webapp.pages.experiments import experiments, reproduce

urlpatterns = [
    path("experiments/", experiments.experiments, name="experiments"),
    path("experiments/<str:experiment_id>/", experiments.experiment, name="experiment"),
    path("experiments/<str:experiment_id>/stop/", experiments.stop, name="stop_experiment"),
    path("experiments/<str:experiment_id>/repeat/", experiments.repeat, name="repeat_run"),
    path("experiments/<str:experiment_id>/delete/", experiments.delete, name="delete_experiment"),
    path("recipes/<slug:name>/reproduce/<slug:experiment>/", reproduce.reproduce, name="reproduce"),
]
