import django.db.models.deletion
from django.db import migrations, models

import webapp.series.models


class Migration(migrations.Migration):
    dependencies = [
        ("metrics", "0001_initial"),
        ("runs", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Axis",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.IntegerField()),
                ("digest", models.BinaryField()),
                ("low_tokens", models.BigIntegerField()),
                ("high_tokens", models.BigIntegerField()),
                ("low_compute", models.FloatField()),
                ("high_compute", models.FloatField()),
                ("low_time", models.FloatField()),
                ("high_time", models.FloatField()),
                ("data", models.BinaryField()),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="runs.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.IntegerField()),
                ("news", models.BigIntegerField()),
                ("rows", models.IntegerField()),
                ("data", models.BinaryField()),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="runs.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Log",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.IntegerField()),
                ("content", models.BooleanField(default=False)),
                ("seen", webapp.series.models.Multirange(default="{}")),
                ("rows", models.BigIntegerField(default=0)),
                ("batches", models.IntegerField(default=0)),
                ("folded", models.BigIntegerField(default=0)),
                ("compacted", models.BooleanField(default=False)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="runs.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Series",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.IntegerField()),
                ("key", models.CharField(max_length=120)),
                ("count", models.BigIntegerField(default=0)),
                ("broken", models.BigIntegerField(default=0)),
                ("first_step", models.BigIntegerField(default=0)),
                ("first_time", models.FloatField(default=0.0)),
                ("least_seq", models.BigIntegerField(default=0)),
                ("greatest_seq", models.BigIntegerField(default=0)),
                ("last_step", models.BigIntegerField(default=0)),
                ("last_seq", models.BigIntegerField(default=0)),
                ("last_value", models.FloatField(default=0.0)),
                ("last_tokens", models.BigIntegerField(default=0)),
                ("last_compute", models.FloatField(default=0.0)),
                ("last_time", models.FloatField(default=0.0)),
                ("straight", models.SmallIntegerField(default=7)),
                ("levels", models.BigIntegerField(default=0)),
                ("thinned", models.BooleanField(default=False)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="runs.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Level",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "series_id",
                        "bits",
                        "block",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("bits", models.SmallIntegerField()),
                ("block", models.BigIntegerField()),
                ("data", models.BinaryField()),
                (
                    "series",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="metrics.series",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("count", models.IntegerField()),
                ("broken", models.IntegerField()),
                ("first_step", models.BigIntegerField()),
                ("last_step", models.BigIntegerField()),
                ("data", models.BinaryField()),
                (
                    "axis",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="metrics.axis"
                    ),
                ),
                (
                    "series",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="metrics.series",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="axis",
            constraint=models.UniqueConstraint(
                fields=("run", "attempt", "digest"), name="one_axis_per_content"
            ),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(fields=["run", "attempt", "news"], name="batches_in_order"),
        ),
        migrations.AddIndex(
            model_name="log",
            index=models.Index(
                condition=models.Q(("compacted", False)), fields=["run"], name="logs_to_compact"
            ),
        ),
        migrations.AddConstraint(
            model_name="log",
            constraint=models.UniqueConstraint(
                fields=("run", "attempt"), name="one_log_per_attempt"
            ),
        ),
        migrations.AddConstraint(
            model_name="series",
            constraint=models.UniqueConstraint(
                fields=("run", "attempt", "key"), name="one_series_per_key"
            ),
        ),
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(fields=["series", "last_step", "first_step"], name="chunks_by_step"),
        ),
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(
                condition=models.Q(("count__lt", 1024)), fields=["series"], name="chunks_to_grow"
            ),
        ),
        # What is packed does not get smaller by Postgres trying.
        migrations.RunSQL(
            [
                f"ALTER TABLE metrics_{table} ALTER COLUMN data SET STORAGE EXTERNAL"
                for table in ("batch", "axis", "chunk", "level")
            ],
            migrations.RunSQL.noop,
        ),
    ]
