"""Addresses of jobs."""

from __future__ import annotations

from django.urls import path

from webapp.jobs import downloads, views

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/new/", views.new_job, name="new_job"),
    path("jobs/<str:job_id>/", views.job, name="job"),
    path("jobs/<str:job_id>/stop/", views.stop_job, name="stop_job"),
    path("jobs/<str:job_id>/delete/", views.delete_job, name="delete_job"),
    path("jobs/<str:job_id>/results.csv", downloads.csv_file, name="job_csv"),
    path("jobs/<str:job_id>/results.jsonl", downloads.json_lines, name="job_json_lines"),
    path("jobs/<str:job_id>/results.parquet", downloads.parquet_file, name="job_parquet"),
]
