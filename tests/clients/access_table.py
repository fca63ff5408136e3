"""Who gets what at the programs' addresses: the written table that a test compares with
`webapp.api.app.ROUTES`.

A row is a method and a path, with what each token gets, in the order of TOKENS:

    in    the request is understood: an answer, or a complaint about what was said
    door  401: no token, or one that opens nothing
    no    403: it may read but not log

Whatever is not in the table is 404 or 405 for every token. A run of another team does not exist for
a token.
"""

from __future__ import annotations

TOKENS = ("log", "read", "missing", "garbage", "revoked", "expired", "left", "session")

PUBLIC = "in in in   in   in   in   in   in"
READ = "  in in door door door door door door"
LOG = "   in no door door door door door door"

TABLE: dict[tuple[str, str], str] = {
    ("GET", "/version"): PUBLIC,
    # Trackio
    ("POST", "/api/get_runs_for_project"): READ,
    ("POST", "/api/get_run_summary"): READ,
    ("POST", "/api/get_all_projects"): READ,
    ("POST", "/api/get_project_summary"): READ,
    ("POST", "/api/get_run_configs"): READ,
    ("POST", "/api/get_metrics_for_run"): READ,
    ("POST", "/api/get_system_metrics_for_run"): READ,
    ("POST", "/api/get_logs"): READ,
    ("POST", "/api/get_system_logs"): READ,
    ("POST", "/api/get_metric_values"): READ,
    ("POST", "/api/get_snapshot"): READ,
    ("POST", "/api/get_alerts"): READ,
    ("POST", "/api/bulk_log"): LOG,
    ("POST", "/api/bulk_log_system"): LOG,
    ("POST", "/api/bulk_alert"): LOG,
    ("POST", "/api/bulk_upload_media"): LOG,
    ("POST", "/api/upload"): LOG,
    ("POST", "/api/check_artifact_blobs"): READ,
    ("POST", "/api/bulk_upload_artifact_blob"): READ,
    ("POST", "/api/artifact_log"): READ,
    ("POST", "/api/log_artifact_use"): READ,
    ("POST", "/api/get_artifact_manifest"): READ,
    # MLflow
    ("GET", "/api/2.0/mlflow/experiments/get"): READ,
    ("GET", "/api/2.0/mlflow/experiments/get-by-name"): READ,
    ("POST", "/api/2.0/mlflow/experiments/search"): READ,
    ("GET", "/api/2.0/mlflow/experiments/search"): READ,
    ("GET", "/api/2.0/mlflow/runs/get"): READ,
    ("POST", "/api/2.0/mlflow/runs/search"): READ,
    ("GET", "/api/2.0/mlflow/metrics/get-history"): READ,
    ("GET", "/api/2.0/mlflow/metrics/get-history-bulk"): READ,
    ("GET", "/api/2.0/mlflow/artifacts/list"): READ,
    ("GET", "/api/2.0/mlflow-artifacts/artifacts"): READ,
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/{path}"): READ,
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{path}"): LOG,
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/{path}"): LOG,
    ("POST", "/api/2.0/mlflow-artifacts/mpu"): LOG,
    ("GET", "/api/2.0/mlflow-artifacts/presigned"): READ,
    ("POST", "/api/2.0/mlflow/experiments/create"): LOG,
    ("POST", "/api/2.0/mlflow/runs/create"): LOG,
    ("POST", "/api/2.0/mlflow/runs/update"): LOG,
    ("POST", "/api/2.0/mlflow/runs/log-batch"): LOG,
    ("POST", "/api/2.0/mlflow/runs/log-metric"): LOG,
    ("POST", "/api/2.0/mlflow/runs/log-parameter"): LOG,
    ("POST", "/api/2.0/mlflow/runs/set-tag"): LOG,
    ("POST", "/api/2.0/mlflow/runs/log-inputs"): LOG,
    ("POST", "/api/2.0/mlflow/runs/outputs"): LOG,
    ("POST", "/api/2.0/mlflow/runs/delete-tag"): LOG,
    ("POST", "/api/2.0/mlflow/runs/delete"): LOG,
    ("POST", "/api/2.0/mlflow/runs/restore"): LOG,
    ("POST", "/api/2.0/mlflow/experiments/update"): LOG,
    ("POST", "/api/2.0/mlflow/experiments/delete"): LOG,
    ("POST", "/api/2.0/mlflow/experiments/restore"): LOG,
    ("POST", "/api/2.0/mlflow/experiments/set-experiment-tag"): LOG,
    ("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag"): LOG,
    ("POST", "/api/2.0/mlflow/logged-models"): LOG,
    ("POST", "/api/2.0/mlflow/logged-models/search"): READ,
    ("DELETE", "/api/2.0/mlflow/logged-models/{model_id}"): LOG,
    ("DELETE", "/api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}"): LOG,
    ("GET", "/api/2.0/mlflow/logged-models/{model_id}"): READ,
    ("PATCH", "/api/2.0/mlflow/logged-models/{model_id}"): LOG,
    ("PATCH", "/api/2.0/mlflow/logged-models/{model_id}/tags"): LOG,
    ("POST", "/api/2.0/mlflow/logged-models/{model_id}/params"): LOG,
}
