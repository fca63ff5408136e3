"""Parquet files and the Arrow files of a saved Hugging Face data set, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.text.problems.records import ProblemError, Row

BATCH = 1024


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file. Raises ProblemError if it cannot be read as one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _rows(file.iter_batches(BATCH))
    except (pa.ArrowException, OSError) as error:
        raise ProblemError(f"{path.name} cannot be read as Parquet: {_first_line(error)}") from None


def read_arrow(path: Path) -> Iterator[Row]:
    """Rows of an Arrow stream, as `save_to_disk` of Hugging Face data sets writes it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            yield from _rows(iter(stream))
    except (pa.ArrowException, OSError) as error:
        raise ProblemError(
            f"{path.name} cannot be read as an Arrow stream: {_first_line(error)}"
        ) from None


def _rows(batches: Iterator[object]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        # A map has names and values, as a group of columns has.
        for values in batch.to_pylist(maps_as_pydicts="lossy"):  # type: ignore[attr-defined]
            number += 1
            yield Row(number, values)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
