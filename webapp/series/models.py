"""Tables of logged series as compressed columns; only `webapp.series` accesses them.

Logged rows wait as *batches*, one database row for each append. When about a thousand rows have
gathered, they are *folded* into *chunks* of values of one key. An *axis* holds the positions of a
chunk (step, tokens, compute, wall time, sequence number) once for all keys that were logged
together. *Levels* of buckets are stored for charts of long series. A run that ends before anything
was folded stays one batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from webapp.runs.models import Run

if TYPE_CHECKING:
    Text = models.Field[str, str]
else:
    Text = models.Field

# A chunk with fewer values is replaced by a larger one when values are added. The index
# `chunks_to_grow` has this number in its condition: another one needs a migration.
SMALL = 1024


class Multirange(Text):
    """A set of integers, stored as ranges."""

    def db_type(self, connection: Any) -> str:
        return "int8multirange"


class Log(models.Model):
    """State of the log of one attempt of a run.

    `rows` and `batches` count what waits to be folded, `rows` those of the key that has the most in
    each batch. Batches up to number `folded` cannot be told
    apart any more. With `content`, rows have no sequence numbers and count once by their content;
    else they count once by number, and `seen` holds the numbers that were received.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    attempt = models.IntegerField()
    content = models.BooleanField(default=False)
    seen = Multirange(default="{}")
    rows = models.BigIntegerField(default=0)
    batches = models.IntegerField(default=0)
    folded = models.BigIntegerField(default=0)
    compacted = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt"], name="one_log_per_attempt")
        ]
        indexes = [
            models.Index(
                fields=["run"], name="logs_to_compact", condition=models.Q(compacted=False)
            )
        ]


class Batch(models.Model):
    """The rows of one append, packed by `webapp.series.storage.batches`.

    `batch_number` is the run's `batch_count` at the append, and the cursor of live readers.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    attempt = models.IntegerField()
    batch_number = models.BigIntegerField()
    rows = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["run", "attempt", "batch_number"], name="batches_in_order")]


class Series(models.Model):
    """A summary of the folded points of one key in one attempt.

    `not_finite` counts NaN and the infinities. The last point is that of the greatest (step, seq).
    `monotonic_axes` has a bit for each of tokens, compute and time that never falls from one step
    to the next; it is 0 if a step has several points. `levels` has bit L if buckets of 2^L steps
    are stored. `thinned`: single points were dropped, only the levels are left.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    attempt = models.IntegerField()
    key = models.CharField(max_length=120)
    count = models.BigIntegerField(default=0)
    not_finite = models.BigIntegerField(default=0)
    first_step = models.BigIntegerField(default=0)
    first_time = models.FloatField(default=0.0)
    least_seq = models.BigIntegerField(default=0)
    greatest_seq = models.BigIntegerField(default=0)
    last_step = models.BigIntegerField(default=0)
    last_seq = models.BigIntegerField(default=0)
    last_value = models.FloatField(default=0.0)
    last_tokens = models.BigIntegerField(default=0)
    last_compute = models.FloatField(default=0.0)
    last_time = models.FloatField(default=0.0)
    monotonic_axes = models.SmallIntegerField(default=7)
    levels = models.BigIntegerField(default=0)
    thinned = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "key"], name="one_series_per_key")
        ]


class Axis(models.Model):
    """The positions of a chunk, stored once for all keys that were logged together.

    `digest` is the hash of `data`, by which an equal axis is found again.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    attempt = models.IntegerField()
    digest = models.BinaryField()
    low_tokens = models.BigIntegerField()
    high_tokens = models.BigIntegerField()
    low_compute = models.FloatField()
    high_compute = models.FloatField()
    low_time = models.FloatField()
    high_time = models.FloatField()
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "attempt", "digest"], name="one_axis_per_content"
            )
        ]


class Chunk(models.Model):
    """Values of one key in order of (step, seq). Never updated, only replaced by a larger chunk."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, db_index=False)
    axis = models.ForeignKey(Axis, on_delete=models.CASCADE)
    count = models.IntegerField()
    not_finite = models.IntegerField()
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    data = models.BinaryField()

    class Meta:
        indexes = [
            models.Index(fields=["series", "last_step", "first_step"], name="chunks_by_step"),
            models.Index(
                fields=["series"], name="chunks_to_grow", condition=models.Q(count__lt=SMALL)
            ),
        ]


class Level(models.Model):
    """Buckets of 2^bits steps whose index divided by `bucket_levels.ROW_BUCKETS` is `block`."""

    pk = models.CompositePrimaryKey("series_id", "bits", "block")
    # The primary key begins with the series, so that it serves as the index of this column.
    series = models.ForeignKey(Series, on_delete=models.CASCADE, db_index=False)
    bits = models.SmallIntegerField()
    block = models.BigIntegerField()
    data = models.BinaryField()
