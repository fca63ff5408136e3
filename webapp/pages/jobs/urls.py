"""Addresses of jobs."""

from __future__ import annotations

from django.urls import path

from webapp.pages.jobs import downloads, jobs

urlpatterns = [
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/new/", jobs.new_job, name="new_job"),
    # Before "jobs/<str:job_id>/", which would take "new" for an id.
    path("jobs/new/check/", jobs.check_job, name="check_job"),
    path("jobs/<str:job_id>/", jobs.job, name="job"),
    path("jobs/<str:job_id>/stop/", jobs.stop_job, name="stop_job"),
    path("jobs/<str:job_id>/delete/", jobs.delete_job, name="delete_job"),
    path("jobs/<str:job_id>/results.csv", downloads.csv_file, name="job_csv"),
    path("jobs/<str:job_id>/results.jsonl", downloads.json_lines, name="job_json_lines"),
    path("jobs/<str:job_id>/results.parquet", downloads.parquet_file, name="job_parquet"),
]
