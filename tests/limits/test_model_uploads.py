"""Files of models cost the web process little: a process with limits reads them, once."""

from __future__ import annotations

import pytest

from tests.limits.conftest import MIB, OF_A_MEMBER, Server, cookies_of, tree_peak
from tests.webapp.pages.test_models import Files, folder
from webapp.access.models import User
from webapp.library.models import StoredModel

pytestmark = pytest.mark.django_db(transaction=True)


def multipart(files: Files) -> bytes:
    parts = [b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nlarge\r\n']
    for name, content in files.items():
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        parts += [head.encode(), content, b"\r\n"]
    return b"".join([*parts, b"--x--\r\n"])


def tokenizer(tokens: int, length: int) -> bytes:
    vocab = ",".join(f'"{number:0{length}}":{number}' for number in range(tokens))
    head = (
        b'{"version":"1.0","added_tokens":[],"model":{"type":"WordLevel","unk_token":"0","vocab":{'
    )
    return head + vocab.encode() + b"}}}"


@pytest.mark.parametrize(
    ("tokens", "length", "vocabulary"),
    [(250_000, 80, 250_000), (950_000, 60, 8), (40, 1_500_000, 40)],
    ids=["large", "too large", "long tokens"],
)
def test_a_large_tokenizer(
    server: Server, erin: User, tokens: int, length: int, vocabulary: int
) -> None:
    headers = cookies_of(erin, server)
    content = tokenizer(tokens, length)
    assert len(content) > 20 * MIB
    with tree_peak(server) as peak:
        status, text = server.request(
            "POST",
            "/models/new/",
            multipart(folder(tokenizer__json=content)),
            {**headers, "Content-Type": "multipart/form-data; boundary=x"},
        )
        assert (status, text) == (302, "")
        assert server.request("GET", "/models/", None, headers)[0] == 200
    assert peak[0] < OF_A_MEMBER
    # The last one needs more memory than it may have, so config.json is believed.
    assert StoredModel.objects.get().facts["vocabulary"] in (vocabulary, 8)


@pytest.mark.parametrize("tensors", [280_000, 1_500_000])
def test_weights_with_a_hollow_list_of_tensors(server: Server, erin: User, tensors: int) -> None:
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(f'"{number}":{empty}' for number in range(tensors)) + "}").encode()
    weights = len(header).to_bytes(8, "little") + header
    with tree_peak(server) as peak:
        status, text = server.request(
            "POST",
            "/models/new/",
            multipart(folder(model__safetensors=weights)),
            {**cookies_of(erin, server), "Content-Type": "multipart/form-data; boundary=x"},
        )
    assert (status, "Save the model again." in text) == (422, True)
    assert peak[0] < OF_A_MEMBER
