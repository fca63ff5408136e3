"""What a person writes to compare runs, tidy up and look for the best one with MLflow."""

import json
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

client = MlflowClient()
ids = {}
experiment_id = mlflow.set_experiment("sums").experiment_id
for name, losses in (("slow", [3.0, 2.0]), ("best", [3.0, 0.5]), ("broken", [3.0, float("nan")])):
    with mlflow.start_run(run_name=name) as run:
        ids[name] = run.info.run_id
        mlflow.log_params({"lr": 0.1 if name == "best" else 0.01, "model": name})
        for step, loss in enumerate(losses):
            mlflow.log_metric("loss", loss, step=step, timestamp=1000 + step)
with mlflow.start_run(run_name="x" * 200) as run:
    ids["long"] = run.info.run_id
    data = mlflow.data.meta_dataset.MetaDataset(  # type: ignore[abstract]
        mlflow.data.http_dataset_source.HTTPDatasetSource("https://data.example/train.csv"),
        name="sums-train",
        digest="abc",
    )
    mlflow.log_input(data, context="training")
with mlflow.start_run() as run:
    ids["unnamed"] = run.info.run_id


def names(**query: Any) -> list[str]:
    runs = mlflow.search_runs(experiment_ids=[experiment_id], output_format="list", **query)
    return [run.info.run_name[:6] for run in runs]


def say(what: str, value: object) -> None:
    print(f"{what}:", json.dumps(value))


say("best", names(filter_string="metrics.loss < 1", order_by=["metrics.loss ASC"]))
say("by loss", names(order_by=["metrics.loss ASC", "start_time ASC"])[:3])
pages, token = [], None
while True:
    page = client.search_runs([experiment_id], max_results=2, page_token=token)
    pages.append(len(page))
    token = page.token
    if not token:
        break
say("pages", pages)

run = client.get_run(ids["best"])
say("user", run.data.tags["mlflow.user"] == run.info.user_id)
say("long", client.get_run(ids["long"]).info.run_name == "x" * 200)
say("long found", names(filter_string=f"run_name = '{'x' * 200}'"))
inputs = client.get_run(ids["long"]).inputs
assert inputs is not None
data_input = inputs.dataset_inputs[0]
say("data", [data_input.dataset.name, data_input.dataset.digest, data_input.tags[0].value])
say("unnamed", client.get_run(ids["unnamed"]).info.run_name)

client.delete_run(ids["slow"])
say("deleted", [client.get_run(ids["slow"]).info.lifecycle_stage])
say("active", "slow" in names())
say("deleted only", names(run_view_type=ViewType.DELETED_ONLY))
say("all", len(names(run_view_type=ViewType.ALL)))
client.restore_run(ids["slow"])
say("restored", names(run_view_type=ViewType.DELETED_ONLY))

client.set_experiment_tag(experiment_id, "goal", "sums")
client.set_experiment_tag(experiment_id, "old", "x")
client.delete_experiment_tag(experiment_id, "old")
client.rename_experiment(experiment_id, "differences")
experiment = client.get_experiment(experiment_id)
say("experiment", [experiment.name, experiment.tags])
say("named", [e.name for e in client.search_experiments(filter_string="tags.goal = 'sums'")])
client.delete_experiment(experiment_id)
say("experiments", [e.name for e in client.search_experiments()])
say("gone", [e.name for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)])
say("hidden runs", names(run_view_type=ViewType.DELETED_ONLY)[:1] != [])
try:
    mlflow.set_experiment("differences")
except Exception as refusal:
    print("refused:", refusal)
try:
    client.create_run(experiment_id)
except Exception as refusal:
    print("refused:", refusal)
client.restore_experiment(experiment_id)
say("back", len(names()))

mlflow.set_experiment("differences")
with mlflow.start_run(run_id=ids["best"]):
    model = mlflow.initialize_logged_model(name="adder", tags={"size": "small"}, model_type="sum")
    mlflow.initialize_logged_model(name="other")
    mlflow.finalize_logged_model(model.model_id, "READY")
found = mlflow.search_logged_models(
    experiment_ids=[experiment_id], filter_string="name = 'adder'", output_format="list"
)
say("models", [[m.name, m.status, m.source_run_id == ids["best"], m.tags["size"]] for m in found])
client.delete_logged_model_tag(model.model_id, "size")
say("model tags", "size" in client.get_logged_model(model.model_id).tags)
client.delete_logged_model(model.model_id)
everything = mlflow.search_logged_models(experiment_ids=[experiment_id], output_format="list")
say("models left", [m.name for m in everything])
