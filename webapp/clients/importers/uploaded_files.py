"""Files of one upload, linked into a folder for the readers; zips among them are unpacked.

The limits hold for the whole upload, however many zips it has: a small archive can otherwise fill
the disk or the memory (a zip bomb). Zips inside zips stay as they are, and links are left out.
"""

from __future__ import annotations

import itertools
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from webapp.clients.importers.imported_run import UnreadableFile
from webapp.runs.event_rows import storable

# On the disk, of an upload and all that its zips unpack to.
MAX_BYTES = 256 * 2**20
# What the disk takes for a file or a folder is a multiple of this.
BLOCK = 4096
# Of files, and likewise of folders.
MAX_FILES = 20_000
# Bytes of the list of a zip's files. `zipfile` reads it at once, and needs ten times as much memory
# for it; 20,000 files of MLflow take 3 MB.
MAX_DIRECTORY = 4 * 2**20
# A path in a zip; an operating system takes about four times as long ones.
LONGEST_PATH, DEEPEST_PATH = 1000, 50
# The methods of packing with bounded memory. A file packed with LZMA may name any amount.
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
# What zipfile and its decompressors raise for a broken, encrypted or unsupported archive.
UNPACK_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@dataclass
class UploadedFolder:
    """A folder with the files of one upload, and what they may still take of the disk."""

    path: Path
    bytes_left: int = MAX_BYTES
    files_left: int = MAX_FILES
    folders: set[PurePosixPath] = field(default_factory=set)

    def add(self, files: Sequence[tuple[str, Path]]) -> None:
        """Link files here under their names, unpacking zips. Raises UnreadableFile."""
        self.bytes_left -= sum(_on_disk(file.stat().st_size) for _, file in files)
        if self.bytes_left < 0:
            raise _too_large("The upload")
        for name, file in files:
            name = PurePosixPath(storable(name)).name or "file"
            try:
                if name.lower().endswith(".zip"):
                    with file.open("rb") as stream:
                        self._unpack(name, stream)
                else:
                    (self._place_for([PurePosixPath(name)]) / name).symlink_to(file)
            except OSError as error:
                # Without the path, which is that of a folder of the server.
                raise UnreadableFile(
                    f"{name[:100]} cannot be read or stored: {error.strerror or error}."
                ) from error

    def _place_for(self, paths: Sequence[PurePosixPath]) -> Path:
        """Return the folder, or a new one in it if a file of an earlier upload is in the way."""
        if not any((self.path / path).exists() for path in paths):
            return self.path
        place = next(
            place
            for number in itertools.count(2)
            if not (place := self.path / str(number)).exists()
        )
        place.mkdir()
        return place

    def _unpack(self, name: str, stream: Any) -> None:
        try:
            with zipfile.ZipFile(_WithoutLongReads(name, stream)) as archive:
                members = self._members(name, archive)
                place = self._place_for(list(members))
                for path, member in members.items():
                    self._unpack_member(archive, member, place / path)
        except UNPACK_ERRORS as error:
            raise UnreadableFile(f"{name} cannot be unpacked: {error}.") from error

    def _members(self, name: str, archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
        """Return the files of a zip by their paths, within the limits. Raises UnreadableFile."""
        # Folders of W&B have links to their latest run, which is in them anyway.
        files = [
            member
            for member in archive.infolist()
            # Not `is_dir`, which fails for a member without a name.
            if not member.filename.endswith("/") and not stat.S_ISLNK(member.external_attr >> 16)
        ]
        self.files_left -= len(files)
        stated = sum(_on_disk(member.file_size) for member in files)
        if self.files_left < 0 or stated > self.bytes_left:
            raise _too_large(name)
        self.bytes_left -= stated
        members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for member in files:
            path = _path(member)
            if path in members:
                raise UnreadableFile(f"{name} holds {member.filename[:100]} twice.")
            if member.compress_type not in METHODS:
                raise UnreadableFile(
                    f"{member.filename[:100]} is packed with an unusual method. Pack the zip again "
                    "with the usual one (deflate)."
                )
            members[path] = member
            new_folders = set(path.parents) - self.folders
            self.folders |= new_folders
            self.bytes_left -= BLOCK * len(new_folders)
            if len(self.folders) > MAX_FILES or self.bytes_left < 0:
                raise _too_large(name)
        return members

    def _unpack_member(
        self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path
    ) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The size in the zip's directory, which was counted, is only a claim.
        stated = member.file_size
        with archive.open(member) as source, target.open("xb") as copy:
            while block := source.read(2**20):
                stated -= len(block)
                if stated < 0:
                    raise UnreadableFile(f"{member.filename[:100]} is longer than the zip states.")
                copy.write(block)


class _WithoutLongReads:
    """A stream of a zip whose list of files is refused if it is too long."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream = name, stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        is_short = 0 <= size <= MAX_DIRECTORY
        content: bytes = self._stream.read(size if is_short else MAX_DIRECTORY + 1)
        if len(content) > MAX_DIRECTORY:
            raise UnreadableFile(
                f"{self._name} has a list of files of more than {MAX_DIRECTORY // 2**20} MiB. "
                "Import its runs in several parts."
            )
        return content


def _too_large(name: str) -> UnreadableFile:
    return UnreadableFile(
        f"{name} is too large: the files of one import, packed and unpacked, may take "
        f"{MAX_BYTES // 2**20} MiB of the disk, and be {MAX_FILES:,} files in {MAX_FILES:,} "
        "folders. Import its runs in several parts, or on the server: manage.py import_metrics."
    )


def _on_disk(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    """Return the path of a file inside its zip. Raises UnreadableFile."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    segments = path.parts
    if not member.filename:
        raise UnreadableFile("The zip holds a file without a name.")
    if (
        not segments
        or segments[0] == "/"
        or any(segment in ("..", ".") or "\0" in segment for segment in segments)
    ):
        raise UnreadableFile(f"The zip holds a file outside its folder: {member.filename[:100]}.")
    if len(member.filename) > LONGEST_PATH or len(segments) > DEEPEST_PATH:
        raise UnreadableFile(f"The zip holds a file with too long a path: {member.filename[:100]}…")
    return path
