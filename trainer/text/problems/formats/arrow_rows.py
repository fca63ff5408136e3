"""Parquet files and the Arrow files of a saved Hugging Face data set, read in small batches.

A text that many rows share is stored once and decoded for each row: a file of 500 bytes may hold
gigabytes. So few rows are decoded at a time, and a batch that is still large is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.text.problems.records import ProblemError, Row

# Values out of Python's range, or text that is not UTF-8, raise Python's own errors.
UNREADABLE = (ValueError, OverflowError, OSError, KeyError, NotImplementedError)
BATCH = 16
# Bytes of the decoded rows of a batch, and of what is read of a column at a time.
LARGEST_BATCH, BUFFER = 128 * 2**20, 2**20


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file. Raises ProblemError if it cannot be read as one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A column is read page by page: a group of rows may have any size.
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            yield from _rows(file.iter_batches(BATCH, use_threads=False), path.name)
    except (ProblemError, MemoryError):
        raise
    except (pa.ArrowException, *UNREADABLE) as error:
        raise ProblemError(f"{path.name} cannot be read as Parquet: {_reason(error)}") from None


def read_arrow(path: Path) -> Iterator[Row]:
    """Rows of an Arrow stream, as `save_to_disk` of Hugging Face data sets writes it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            yield from _rows(_slices(stream), path.name)
    except (ProblemError, MemoryError):
        raise
    except (pa.ArrowException, *UNREADABLE) as error:
        raise ProblemError(
            f"{path.name} cannot be read as an Arrow stream: {_reason(error)}"
        ) from None


def _slices(batches: Any) -> Iterator[Any]:
    for batch in batches:
        # Unlike Parquet, a stream is used as it is: a damaged one would end the process.
        batch.validate(full=True)
        for start in range(0, len(batch), BATCH):
            yield batch.slice(start, BATCH)


def _rows(batches: Iterator[Any], name: str) -> Iterator[Row]:
    number = 0
    for batch in batches:
        if not number:
            _check_names(batch.schema.names, name)
            has_map = any("map<" in str(field.type) for field in batch.schema)
            in_nanoseconds = _in_nanoseconds(batch.schema)
        if batch.nbytes > LARGEST_BATCH:
            raise ProblemError(
                f"rows {number + 1:,} to {number + len(batch):,} of {name} have "
                f"{batch.nbytes // 2**20:,} MB together; leave out the longest columns"
            )
        for index in in_nanoseconds:
            # Python's own times have microseconds.
            column = batch.column(index).cast("string")
            batch = batch.set_column(index, batch.schema.names[index], column)
        # A map has names and values, as a group of columns has.
        for values in batch.to_pylist(maps_as_pydicts="lossy"):
            number += 1
            yield Row(number, _with_text_names(values) if has_map else values)


def _check_names(names: list[str], name: str) -> None:
    counts = Counter(names)
    if twice := next((column for column in names if counts[column] > 1), None):
        raise ProblemError(f"{name} has two columns called “{twice[:80]}”; rename one")


def _in_nanoseconds(schema: Any) -> list[int]:
    return [index for index, field in enumerate(schema) if getattr(field.type, "unit", "") == "ns"]


def _with_text_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _with_text_names(item) for name, item in value.items()}
    return [_with_text_names(item) for item in value] if isinstance(value, list) else value


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
