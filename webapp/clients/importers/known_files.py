"""Which files were imported before: a file is identified by its whole content.

A file that has grown begins with all that it was at its last import, and continues its run. Of two
files that merely begin alike, each is a run of its own, and so is each of two files of one import
of which one begins with all of the other.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from webapp.clients.client_batch import RunAddress, digest_id
from webapp.clients.importers.imported_run import LogSource
from webapp.clients.importers.stored_values import without_stored
from webapp.clients.models import ImportedFile, Origin, Receipt
from webapp.clients.runs import project_name
from webapp.runs.models import Run

BLOCK = 2**20
# Values that are compared with a run of an earlier version, which kept no digest of its files.
MOST_COMPARED = 2000


class Content(NamedTuple):
    """The first `size` bytes of a file, by their digest."""

    size: int
    digest: UUID


class KnownFiles:
    """The files of the runs that were imported from one tracker into one project."""

    def __init__(self, address: RunAddress) -> None:
        self._origins: QuerySet[Origin] = Origin.objects.filter(
            project__team=address.team_id,
            project__name=project_name(address.project),
            client=address.client,
            # The files of a deleted run may be imported again, as a new run.
            run__deleted_at=None,
        )
        self._runs: dict[Content, set[int]] = defaultdict(set)
        # For each content of a run, whether its file has grown since.
        self._has_grown: dict[int, dict[Content, bool]] = defaultdict(dict)
        self._contents_of_file: dict[Path, dict[int, UUID]] = {}
        # Contents that this import has brought: no file of it has grown from them.
        self._new: set[Content] = set()
        rows = ImportedFile.objects.filter(run__in=self._origins.values("run"), size__isnull=False)
        for run, head, size, has_grown in rows.values_list("run_id", "head", "size", "has_grown"):
            self._remember(run, Content(size or 0, head), has_grown)

    def key_of(self, sources: Sequence[LogSource]) -> str:
        """Return the key of a run that nothing but the contents of its files identifies."""
        digests = [self._contents(source)[-1].digest for source in sources]
        return str(digests[0] if len(digests) == 1 else digest_id(*digests))

    def run_of(self, sources: Sequence[LogSource]) -> int | None:
        """Return the run that these files were imported into; they may have grown since.

        Either all of them are known as files of the run, or all files of the run are among them.
        """
        known = {
            run: [self._known(run, source) for source in sources]
            for source in sources
            for content in self._contents(source)
            for run in self._runs.get(content, ())
        }
        runs = [
            run
            for run, contents in known.items()
            if None not in contents
            or {content for content, has_grown in self._has_grown[run].items() if not has_grown}
            <= set(contents)
        ]
        if runs:
            return min(runs, key=lambda run: (*_unlikeness(known[run]), run))
        return self._run_of_earlier_version(sources[0])

    def file_of(self, run: int, source: LogSource) -> ImportedFile:
        """Return the record of the source's content in the run, created if there is none."""
        content, known = self._contents(source)[-1], self._known(run, source)
        if known == content:
            return ImportedFile.objects.get(run=run, head=content.digest)
        # Before this one: what the file was at its last import, perhaps by an earlier version.
        head = known.digest if known else source.head
        rows = ImportedFile.objects.filter(run=run, has_grown=False)
        before = rows.filter(head=head).first() if head else None
        done = before.done if before else 0
        if done and known is not None and source.is_csv and _is_cut(source.file, known.size):
            # So that its last row, which begins at the byte before, comes again.
            done -= 1
        imported_file = ImportedFile.objects.create(
            run_id=run, head=content.digest, size=content.size, done=done
        )
        if before is not None:
            before.has_grown = True
            before.save(update_fields=["has_grown"])
        if known is not None:
            self._remember(run, known, has_grown=True)
        self._remember(run, content, has_grown=False)
        self._new.add(content)
        return imported_file

    def _remember(self, run: int, content: Content, has_grown: bool) -> None:
        self._runs[content].add(run)
        self._has_grown[run][content] = has_grown

    def _known(self, run: int, source: LogSource) -> Content | None:
        """Return the content of the source that the run has: all of it, else what it grew from."""
        contents, has_grown = self._contents(source), self._has_grown[run]
        if contents[-1] in has_grown:
            return contents[-1]
        return next(
            (
                content
                for content in reversed(contents)
                if has_grown.get(content) is False and content not in self._new
            ),
            None,
        )

    def _contents(self, source: LogSource) -> list[Content]:
        """Return the beginnings of the file that have a known length, and last all of it."""
        assert source.file is not None
        digests = self._contents_of_file.get(source.file)
        if digests is None:
            size = source.file.stat().st_size
            sizes = {content.size for content in self._runs if content.size < size}
            digests = self._contents_of_file[source.file] = digests_of(source.file, {*sizes, size})
        return [
            Content(size, digest_id(digest, source.part) if source.part else digest)
            for size, digest in digests.items()
        ]

    def _run_of_earlier_version(self, source: LogSource) -> int | None:
        """Return the run of a file that was imported before contents were compared.

        Such a run is named by the head of its file, which another file may have too. So the values
        that were read then must be among those of the run.
        """
        if source.head is None:
            return None
        run = self._origins.filter(key=str(source.head)).values_list("run_id", flat=True).first()
        if run is None or self._has_grown.get(run):
            return None
        rows = ImportedFile.objects.filter(run=run, head=source.head)
        done = rows.values_list("done", flat=True).first() or 0
        receipts = set(Receipt.objects.filter(run=run).values_list("log", flat=True))
        read_before = []
        for offset, log, _ in source.logs():
            if offset >= done and not receipts:
                break
            if offset < done or digest_id(source.head, offset) in receipts:
                read_before.append(log)
            if len(read_before) == MOST_COMPARED:
                break
        return None if without_stored(Run(pk=run), read_before) else run


def _unlikeness(contents: Sequence[Content | None]) -> tuple[int, int]:
    """Return how many files a run does not have, and, negative, the bytes of the others."""
    return contents.count(None), -sum(content.size for content in contents if content)


def _is_cut(file: Path | None, size: int) -> bool:
    """Return whether the first `size` bytes of a file end inside a line."""
    assert file is not None
    with file.open("rb") as stream:
        stream.seek(max(size - 1, 0))
        return stream.read(1) != b"\n"


def digests_of(file: Path, sizes: Iterable[int]) -> dict[int, UUID]:
    """Return the digest of the first bytes of a file for each number of bytes, in their order.

    A number beyond the end of the file has none.
    """
    digest, digests, position = hashlib.blake2b(digest_size=16), {}, 0
    with file.open("rb") as stream:
        for size in sorted(sizes):
            while position < size and (block := stream.read(min(BLOCK, size - position))):
                digest.update(block)
                position += len(block)
            if position == size:
                digests[size] = UUID(bytes=digest.digest())
    return digests
