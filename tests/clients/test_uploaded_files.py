"""Zips are unpacked within limits of the whole upload; nothing is written elsewhere or lost."""

from __future__ import annotations

import contextlib
import io
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.clients.importers import UnreadableFile, uploaded_files
from webapp.clients.importers.uploaded_files import UploadedFolder

TABLE = b"_step,loss\n0,1\n"


def packed(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def with_link(name: str, target: str) -> bytes:
    link = zipfile.ZipInfo(name)
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, target)
        archive.writestr("run.csv", TABLE)
    return buffer.getvalue()


def stating(content: bytes, size: int) -> bytes:
    """A zip whose list of files states another unpacked size of its first file."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, content.index(b"PK\x01\x02") + 24, size)
    return bytes(changed)


def stored(folder: Path, *uploads: tuple[str, bytes]) -> list[tuple[str, Path]]:
    """The uploads in a folder beside `folder`, as they are before they are unpacked there."""
    place = folder.with_name(f"{folder.name} uploads")
    place.mkdir(exist_ok=True)
    files = []
    for name, content in uploads:
        files.append((name, place / str(len(list(place.iterdir())))))
        files[-1][1].write_bytes(content)
    return files


def unpacked(folder: Path, *uploads: tuple[str, bytes]) -> dict[str, bytes]:
    UploadedFolder(folder).add(stored(folder, *uploads))
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


REFUSED = {
    "a path upwards": (packed(("../evil.csv", TABLE)), "outside its folder"),
    "a path from the root": (packed(("/etc/evil.csv", TABLE)), "outside its folder"),
    "a path that goes up later": (packed(("a/../../evil.csv", TABLE)), "outside its folder"),
    "a path upwards on Windows": (packed(("..\\evil.csv", TABLE)), "outside its folder"),
    "a file twice": (packed(("a.csv", TABLE), ("./a.csv", b"other")), "twice"),
    "a file in a file": (packed(("a", TABLE), ("a/b.csv", TABLE)), "cannot be read or stored"),
    "a deep path": (packed(("a/" * 200 + "b.csv", TABLE)), "too long a path"),
    "a long name": (packed(("é" * 200 + ".csv", TABLE)), "cannot be read or stored"),
    "a longer name": (packed(("a" * 5000, TABLE)), "too long a path"),
    "LZMA": (packed(("a.csv", TABLE), method=zipfile.ZIP_LZMA), "unusual method"),
    "no zip": (b"_step,loss\n", "not a zip file"),
    "an empty file": (b"", "not a zip file"),
    "a cut zip": (packed(("a.csv", TABLE))[:-30], "not a zip file"),
    "more than stated": (stating(packed(("a.csv", b"x" * 3000)), 10), "a.csv"),
    "too many files": (packed(*((f"{n}", b"") for n in range(60))), "50 files"),
    "too many folders": (packed(*((f"{n}/a/b", b"") for n in range(30))), "50 folders"),
    "too many bytes": (packed(("a", bytes(300_000))), "is too large"),
    "a long list": (packed(*(("a" * 900 + str(n), b"") for n in range(40))), "a list of files"),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a small zip exceeds."""
    monkeypatch.setattr(uploaded_files, "MAX_FILES", 50)
    monkeypatch.setattr(uploaded_files, "MAX_DIRECTORY", 20_000)


def small_folder(path: Path) -> UploadedFolder:
    return UploadedFolder(path, bytes_left=200_000, files_left=50)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", REFUSED)
def test_a_zip_is_refused_in_words(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    (tmp_path / "here").mkdir()
    with pytest.raises(UnreadableFile, match=reason) as refused:
        small_folder(tmp_path / "here").add(stored(tmp_path / "here", ("runs.zip", content)))
    assert str(tmp_path) not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "here uploads"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "content",
    [
        packed(*((f"{n}.csv", b"") for n in range(20))),
        packed(*((f"{n}/a.csv", b"") for n in range(20))),
        packed(("a.csv", bytes(80_000))),
    ],
)
def test_the_limits_hold_for_all_zips_of_an_upload_together(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "here").mkdir()
    uploads = stored(tmp_path / "here", *((f"{n}.zip", content) for n in range(4)))
    folder = small_folder(tmp_path / "here")
    with pytest.raises(UnreadableFile, match=r"2\.zip is too large"):
        folder.add(uploads)


def disk_use(folder: Path) -> int:
    """Bytes of the blocks that files and folders below `folder` take, on most file systems."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    return 4096 * sum(1 if path.is_dir() else -(-path.stat().st_size // 4096) for path in paths)


@pytest.mark.parametrize(
    "uploads",
    [
        [("plain.csv", bytes(250_000))],
        [("plain.csv", bytes(120_000)), ("a.zip", packed(("a.csv", bytes(90_000))))],
        [(f"{n}.zip", packed(("a.csv", bytes(90_000)))) for n in range(3)],
        [("a.zip", packed(("a.csv", bytes(120_000)), method=zipfile.ZIP_STORED))],
        [("a.zip", packed(*((f"{n}/{m}", b"x") for n in range(10) for m in range(5))))],
    ],
)
def test_uploads_and_what_they_unpack_to_have_one_allowance(
    tmp_path: Path, uploads: list[tuple[str, bytes]]
) -> None:
    """Blocks of the disk count: fifty files of a byte take 200 kB."""
    folder = tmp_path / "here"
    folder.mkdir()
    files = stored(folder, *uploads)
    UploadedFolder(folder, bytes_left=320_000).add(files)
    assert 200_000 < disk_use(tmp_path) < 320_000
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UnreadableFile, match="is too large"):
        UploadedFolder(folder, bytes_left=200_000).add(files)


def test_equal_names_in_several_uploads_are_all_kept(tmp_path: Path) -> None:
    uploads = [
        ("2", b"plain"),
        ("a.zip", packed(("run/a.csv", b"1"), ("b.csv", b"2"))),
        ("b.zip", packed(("run/a.csv", b"3"))),
        ("run", b"4"),
        ("b.csv", b"5"),
        ("b.csv", b"6"),
    ]
    files = unpacked(tmp_path, *uploads)
    assert sorted(files.values()) == [b"1", b"2", b"3", b"4", b"5", b"6", b"plain"]
    assert files["run/a.csv"] == b"1" and files["b.csv"] == b"2"


def test_a_link_is_left_out_and_a_zip_in_a_zip_stays_one(tmp_path: Path) -> None:
    inner = packed(("a.csv", TABLE))
    files = unpacked(
        tmp_path, ("a.zip", with_link("latest-run", "/etc")), ("b.zip", packed(("c.zip", inner)))
    )
    assert files == {"run.csv": TABLE, "c.zip": inner}


@pytest.mark.parametrize("name", ["é" * 250 + ".csv", "2", "a\\b.csv", ".zip", "x" * 300])
def test_an_upload_of_any_name_is_stored_or_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "here").mkdir()
    with contextlib.suppress(UnreadableFile):
        files = unpacked(tmp_path / "here", (name, TABLE), (name, TABLE))
        assert list(files.values()) == [TABLE, TABLE]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_zip_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    sound = packed(("a.csv", TABLE * 50), ("b/c.csv", TABLE)) + b"  "
    start = data.draw(st.integers(0, len(sound)))
    end = data.draw(st.integers(start, min(len(sound), start + 8)))
    damaged = sound[:start] + data.draw(st.binary(max_size=8)) + sound[end:]
    with contextlib.suppress(UnreadableFile):
        unpacked(folder, ("a.zip", damaged))


CHILD = """
import re, sys, tempfile
from pathlib import Path
import django
django.setup()
from webapp.clients.importers.imported_run import UnreadableFile
from webapp.clients.importers.uploaded_files import UploadedFolder
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
    try:
        UploadedFolder(Path(folder)).add([("a.zip", Path(sys.argv[1]))])
    except UnreadableFile as error:
        print(error)
    print(peak() - before)
"""
# The list of files of the largest zip needs about 60 MiB.
MOST_MEMORY = 100 * 2**20


@pytest.mark.parametrize("name", ["a list of 500,000 files", "many files", "zeros"])
def test_no_zip_needs_much_memory(
    child_environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    if name == "zeros":
        content = packed(("a.csv", bytes(50 * 2**20)))
    else:
        count = 500_000 if name.startswith("a list") else 80_000
        # A file named “a”, of which only the signature and the length of its name are not 0.
        entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, count * len(entry), 0, 0)
        content = entry * count + end
    (tmp_path / "a.zip").write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "a.zip"), str(tmp_path)],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, peak = child.stdout.split()
    assert int(peak) * 1024 < MOST_MEMORY
