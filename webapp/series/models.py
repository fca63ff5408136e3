"""The series of runs, as columns. Only `webapp.series` touches these tables: everything else calls
its functions.

What is logged waits as *batches*, one row for each append, and is *folded* when a few hundred rows
have gathered: into *chunks* of values, whose places (step, tokens, compute, wall time, sequence
number) are kept once for all keys that were logged together, and into *levels* of buckets that
charts of long series are drawn from. A run that ends before anything was folded stays one batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from webapp.runs.models import Run

if TYPE_CHECKING:
    Text = models.Field[str, str]
else:
    Text = models.Field

SMALL = 1024  # a chunk of fewer values is replaced when there are more


class Multirange(Text):
    """A set of whole numbers as ranges."""

    def db_type(self, connection: Any) -> str:
        return "int8multirange"


class Log(models.Model):
    """What one attempt of a run has logged. `rows` and `batches` wait to be folded; batches up to
    number `folded` are not kept apart.

    `content`: rows have no sequence numbers and count once by what they say; else by number, and
    `seen` holds those that have come.
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
    """Rows as they came, packed by `webapp.series.batches`; `batch_number` is the run's count of batches,
    the cursor of live readers.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    attempt = models.IntegerField()
    batch_number = models.BigIntegerField()
    rows = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["run", "attempt", "batch_number"], name="batches_in_order")]


class Series(models.Model):
    """What is known of the folded points of one key without looking at them.

    `not_finite` values are not finite. The last point is that of the greatest (step, seq). `monotonic_axes`
    has a bit for each of tokens, compute and time that never falls from one step to the next, while
    every step has one point; `levels` has bit L if buckets of 2^L steps are kept.
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
    """The places of a chunk, once for all keys that were logged together; found again by the digest
    of their bytes.
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
    """Values of one key, in order of (step, seq). Never changed, only replaced by a larger one."""

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
    """The buckets of 2^bits steps whose index divided by `webapp.series.bucket_levels.WIDE` is
    `block`.
    """

    pk = models.CompositePrimaryKey("series_id", "bits", "block")
    series = models.ForeignKey(Series, on_delete=models.CASCADE, db_index=False)
    bits = models.SmallIntegerField()
    block = models.BigIntegerField()
    data = models.BinaryField()
