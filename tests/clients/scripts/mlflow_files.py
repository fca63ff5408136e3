"""What a person writes to log files with MLflow, and to read them back."""

import json
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image

client = MlflowClient()
mlflow.set_experiment("sums")


def say(what: str, value: object) -> None:
    print(f"{what}:", json.dumps(value))


with mlflow.start_run(run_name="files") as run:
    run_id = run.info.run_id
    mlflow.log_text("2 + 2 = 4\n", "notes/first.txt")
    mlflow.log_dict({"lr": 0.1, "layers": [1, 2]}, "config.json")
    mlflow.log_dict({"lr": 0.1}, "config.yaml")
    mlflow.log_image(np.full((4, 6, 3), 200, np.uint8), "images/grey.png")
    mlflow.log_image(Image.new("RGB", (3, 3), "red"), key="sample", step=4)
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a b+c%.bin").write_bytes(bytes(range(256)) * 1000)
    Path("folder/deep/ä.txt").write_text("deep", "utf-8")
    mlflow.log_artifact("folder/deep/ä.txt")
    mlflow.log_artifacts("folder", artifact_path="copy")
    table = {"question": ["1 + 1?", "2 + 2?"], "answer": [2, 4]}
    mlflow.log_table(table, "eval/answers.json")
    mlflow.log_table({"question": ["3 + 3?"], "answer": [6]}, "eval/answers.json")
    # Again: the same path and content.
    mlflow.log_text("2 + 2 = 4\n", "notes/first.txt")
    Path("large.bin").write_bytes(bytes(2**20 + 1))
    try:
        mlflow.log_artifact("large.bin")
    except Exception as refusal:
        print("refused:", refusal)
    mlflow.log_text("gone", "old/gone.txt")
    model = mlflow.initialize_logged_model(name="adder")
    client.log_model_artifact(model.model_id, "folder/deep/ä.txt")
    mlflow.finalize_logged_model(model.model_id, "READY")

say("root", [[file.path, file.is_dir] for file in client.list_artifacts(run_id)])
say("copy", [[file.path, file.file_size] for file in client.list_artifacts(run_id, "copy")])
say("a file", [file.path for file in client.list_artifacts(run_id, "config.json")])
say("text", mlflow.artifacts.load_text(f"runs:/{run_id}/notes/first.txt"))
say("dict", mlflow.artifacts.load_dict(f"runs:/{run_id}/config.json"))
say("image", mlflow.artifacts.load_image(f"runs:/{run_id}/images/grey.png").size)
say("table", mlflow.load_table("eval/answers.json", run_ids=[run_id]).values.tolist())
downloaded = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="copy"))
content = (downloaded / "a b+c%.bin").read_bytes()
say("downloaded", content == bytes(range(256)) * 1000 and (downloaded / "deep/ä.txt").read_text())
model_files = mlflow.artifacts.list_artifacts(f"models:/{model.model_id}")
say("model", [file.path for file in model_files])
repository = get_artifact_repository(str(client.get_run(run_id).info.artifact_uri))
repository.delete_artifacts("old")
say("deleted", "old" in [file.path for file in client.list_artifacts(run_id)])
