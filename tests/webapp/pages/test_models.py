"""The pages of models: which files are stored, which folders are refused, and how runs use them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files import File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tests.webapp.conftest import SPEC
from tests.webapp.pages.test_new_run import as_, posted
from webapp.access.models import Team, User
from webapp.library import artifacts, locations, model_reader, stored_models
from webapp.library.models import Artifact, StoredModel
from webapp.runs import lifecycle

pytestmark = pytest.mark.django_db

Files = dict[str, bytes]


def safetensors(shapes: Mapping[str, list[int]], short_by: int = 0) -> bytes:
    """Return a safetensors file of fp32 zeros that is `short_by` bytes too short."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end - short_by)


def tokenizer(*tokens: str) -> bytes:
    return (
        Tokenizer(
            WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=tokens[0])
        )
        .to_str()
        .encode()
    )


# A normalizer whose table is cut short.
BROKEN_CHARSMAP = json.dumps(
    {
        **json.loads(tokenizer("a")),
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    }
).encode()


def folder(**changes: bytes | None) -> Files:
    """Return the files of a small Llama model; None leaves a file out."""
    files = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"], '
        b'"max_position_embeddings": 128, "vocab_size": 8}',
        "model.safetensors": safetensors({"embed": [3, 4], "head": [2, 5]}),
        "tokenizer.json": tokenizer("a", "b", "c"),
        "tokenizer_config.json": b"{}",
    }
    changed_files = {name.replace("__", "."): content for name, content in changes.items()}
    return {
        name: content for name, content in {**files, **changed_files}.items() if content is not None
    }


def send(client: Client, files: Files, name: str = "Small Llama") -> Any:
    return client.post(
        "/models/new/",
        {
            "name": name,
            "files": [SimpleUploadedFile(name, content) for name, content in files.items()],
        },
    )


def refusal(client: Client, files: Files) -> str:
    answer = send(client, files)
    assert answer.status_code == 422
    assert not StoredModel.objects.exists()
    assert not Artifact.objects.exists()
    return str(answer.context["problem"])


def test_a_folder_becomes_a_model_of_the_team(erin: User, still: Team) -> None:
    client = as_(erin)
    assert send(client, folder()).status_code == 302
    model = StoredModel.objects.get()
    assert (model.team, model.name, model.architecture, model.parameters) == (
        still,
        "small-llama",
        "LlamaForCausalLM",
        22,
    )
    assert set(model.manifest) == set(folder())
    with artifacts.open(still, model.manifest["tokenizer.json"]) as file:
        assert file.read() == tokenizer("a", "b", "c")
    facts = stored_models.facts_of(model)
    assert (facts.vocabulary, facts.max_length) == (3, 128)
    page = client.get("/models/").content.decode()
    assert "small-llama" in page and "LlamaForCausalLM" in page and "Built-in student" in page


def test_the_files_of_a_model_are_read_once(
    alice: User, still: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(as_(alice), folder())
    facts = stored_models.facts_of(StoredModel.objects.get())
    # A model of an earlier version has no facts yet.
    StoredModel.objects.update(facts={})
    assert stored_models.facts_of(StoredModel.objects.get()) == facts

    monkeypatch.setattr(model_reader, "facts", None)
    assert stored_models.facts_of(StoredModel.objects.get()) == facts


def test_a_configuration_with_values_of_other_types_is_shown_without_them(alice: User) -> None:
    config = b'{"text_config": [1], "max_position_embeddings": "long", "architectures": {}}'
    assert send(as_(alice), folder(config__json=config)).status_code == 302
    assert as_(alice).get("/models/").status_code == 200


def test_the_same_folder_twice_is_one_model(alice: User) -> None:
    client = as_(alice)
    send(client, folder())
    send(client, folder())
    assert StoredModel.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_unused_artifacts_are_collected_while_a_model_is_written(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing weights takes minutes, and `collect` needs the lock of all writers."""
    write = artifacts.AtomicFolder._save

    def lock_is_free() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [artifacts.LOCK_KEY])
            (is_free,) = cursor.fetchone()
        # The lock ends with its connection, which belongs to this thread.
        connection.close()
        return is_free

    def save(folder: artifacts.AtomicFolder, name: str, content: File) -> str:
        with ThreadPoolExecutor() as pool:
            was_free.append(pool.submit(lock_is_free).result())
        return write(folder, name, content)

    was_free: list[bool] = []
    monkeypatch.setattr(artifacts.AtomicFolder, "_save", save)
    assert send(as_(alice), folder()).status_code == 302
    assert was_free == [True] * len(folder())


def test_weights_in_several_files_are_counted_together(alice: User) -> None:
    shards = {
        "model-00001-of-00002.safetensors": safetensors({"a": [5, 2]}),
        "model-00002-of-00002.safetensors": safetensors({"b": [3, 3]}),
    }
    send(
        as_(alice),
        {**folder(model__safetensors=None), **shards, "model.safetensors.index.json": b"{}"},
    )
    assert StoredModel.objects.get().parameters == 19


def test_code_and_pickles_beside_the_weights_are_left_out_and_named(alice: User) -> None:
    client = as_(alice)
    extra = {
        "modeling_evil.py": b"import os",
        "pytorch_model.bin": b"\x80\x04",
        "README.md": b"hello",
        ".hidden.json": b"{}",
    }
    send(client, {**folder(), **extra})
    assert set(StoredModel.objects.get().manifest) == set(folder())
    page = client.get("/models/").content.decode()
    assert "Left out" in page and "modeling_evil.py" in page and "pytorch_model.bin" in page


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (folder(tokenizer__json=None, tokenizer_config__json=None), "has no tokenizer"),
        (
            {**folder(model__safetensors=None), "pytorch_model.bin": b"\x80\x04."},
            "pickled weights only",
        ),
        (folder(model__safetensors=None), "has no weights"),
        (folder(config__json=None), "no config.json"),
        (folder(config__json=b"{not json"), "config.json is not readable JSON"),
        (folder(config__json=b"[1]"), "not a model configuration"),
        (folder(model__safetensors=b"\x80\x04\x95 a pickle with another name"), "cannot be read"),
        (folder(model__safetensors=b""), "cannot be read"),
        (
            folder(model__safetensors=struct.pack("<Q", 12) + b"not a header" + b"x" * 20),
            "cannot be read",
        ),
        (folder(model__safetensors=struct.pack("<Q", 2**60) + b"{}"), "cannot be read"),
        (folder(model__safetensors=safetensors({"a": [4, 4]}, short_by=1)), "is cut short"),
        (folder(tokenizer__json=b"{}"), "tokenizer.json cannot be read"),
        # Its library panics, which is no Exception.
        (folder(tokenizer__json=BROKEN_CHARSMAP), "tokenizer.json cannot be read"),
        ({}, "Choose the folder"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_with_a_reason(
    alice: User, files: Files, message: str
) -> None:
    assert message in refusal(as_(alice), files)


def test_a_name_that_is_a_path_writes_nothing_outside_the_store(alice: User) -> None:
    client = as_(alice)
    files = {
        ("..\\..\\config.json" if name == "config.json" else name): content
        for name, content in folder().items()
    }
    assert send(client, files, name="../../etc/cron.d").status_code == 302
    model = StoredModel.objects.get()
    assert model.name == "etccrond" and set(model.manifest) == set(folder())


def test_two_files_with_the_same_name_are_refused(alice: User) -> None:
    files = {**folder(), "checkpoint\\config.json": b"{}"}
    assert "Two files are called config.json" in refusal(as_(alice), files)


def test_a_viewer_cannot_upload_a_model(bob: User) -> None:
    assert send(as_(bob), folder()).status_code == 403
    assert not StoredModel.objects.exists()


def upload(user: User, files: Files, name: str) -> str:
    """Upload a folder and return its name in a definition."""
    assert send(as_(user), files, name).status_code == 302
    return locations.uri_of_model(StoredModel.objects.latest("created_at"))


def check(user: User, **changes: str) -> str:
    return as_(user).post("/runs/new/check/", posted(SPEC, **changes)).content.decode()


def test_two_models_with_the_same_tokenizer_can_be_combined(alice: User) -> None:
    student, teacher = (
        upload(alice, folder(), "student"),
        upload(alice, folder(generation_config__json=b'{"a": 1}'), "teacher"),
    )
    page = check(alice, networks__student__model=student, networks__teacher__model=teacher)
    assert "Ready to start" in page
    assert "22 parameters" in page or "Student 22" in page


def test_answers_longer_than_the_model_can_read_are_refused(alice: User) -> None:
    student, teacher = (
        upload(alice, folder(), "student"),
        upload(alice, folder(generation_config__json=b"{}"), "teacher"),
    )
    changes = {"networks__student__model": student, "networks__teacher__model": teacher}
    page = check(
        alice,
        **changes,
        evaluation__sampling__max_new_tokens="128",
        stages__0__rollouts__generate__sampling__max_new_tokens="500",
    )
    assert 'data-target="field-evaluation-sampling-max_new_tokens"' in page
    assert 'data-target="field-stages-0-rollouts-generate-sampling-max_new_tokens"' in page
    assert "the student reads at most 128 tokens" in page


def test_the_model_of_another_team_cannot_be_used(alice: User, charlie: User) -> None:
    foreign_model = upload(charlie, folder(), "secret")
    page = check(alice, networks__student__model=foreign_model)
    assert "names a model that the team does not have" in page
    assert "Ready to start" not in page


def test_a_folder_on_the_server_is_read_under_the_operators_roots_only(
    alice: User, tmp_path: Path, settings: Any
) -> None:
    inside, outside = tmp_path / "models", tmp_path / "elsewhere"
    for path in (inside / "small", outside):
        path.mkdir(parents=True)
        for name, content in folder().items():
            (path / name).write_bytes(content)
    (inside / "link").symlink_to(outside)
    settings.STILLROOM_FILE_ROOTS = (inside,)
    allowed = {
        "networks__teacher__model": "file:",
        "networks__teacher__model__rest": str(inside / "small"),
    }
    assert "may read" not in check(alice, **allowed)
    for path in (outside, inside / "link", inside / ".." / "elsewhere", inside / "missing"):
        page = check(
            alice, networks__student__model="file:", networks__student__model__rest=str(path)
        )
        assert "is nothing that this server may read" in page


def test_held_out_problems_that_are_also_trained_on_are_reported(alice: User) -> None:
    source = {"kind": "arithmetic", "families": ["add"], "levels": [1], "count": 50, "seed": 3}
    spec = {**SPEC, "data": {"train": source, "evaluation": {**source, "count": 20}}}
    page = as_(alice).post("/runs/new/check/", posted(spec)).content.decode()
    assert "of the held-out problems are training problems too" in page
    assert 'data-target="field-data-evaluation-kind"' in page


def test_only_a_model_that_no_run_names_is_deleted(alice: User, still: Team) -> None:
    upload(alice, folder(), "small")
    used_model = upload(alice, folder(generation_config__json=b"{}"), "used")
    networks = {
        "student": {"model": used_model},
        "teacher": {"kind": "model", "model": "builtin:teacher"},
    }
    lifecycle.create_run(still, alice, {**SPEC, "version": 2, "networks": networks})
    client = as_(alice)
    for model in StoredModel.objects.all():
        client.post(f"/models/{model.pk}/delete/")
    assert [model.name for model in StoredModel.objects.all()] == ["used"]
    assert "in 1 run" in client.get("/models/").content.decode()


def test_a_folder_with_too_many_files_is_refused(alice: User) -> None:
    answer = send(as_(alice), {f"{number}.json": b"{}" for number in range(201)})
    assert answer.status_code == 400
    assert "more than 200 files; nothing was stored" in answer.content.decode()


def test_a_form_with_too_much_text_is_refused(alice: User) -> None:
    answer = as_(alice).post("/runs/new/", {"name": "x" * (5 * 2**20)})
    assert answer.status_code == 400
    assert "more than 4 MiB of text; nothing was changed" in answer.content.decode()
