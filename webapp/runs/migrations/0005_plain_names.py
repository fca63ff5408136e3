from django.db import migrations, models


class Migration(migrations.Migration):
    """Name the counter of batches, and delete a column that nothing writes or reads."""

    dependencies = [("runs", "0004_several_machines")]

    operations = [
        migrations.RenameField("run", "news", "batch_count"),
        migrations.RenameIndex("event", "events_by_batch", "runs_event_run_id_f09224_idx"),
        migrations.RenameField("event", "news", "batch_number"),
        # The index follows its column by itself; only Django's record of it has to be brought up
        # to date. Building the index again would lock a large table for nothing.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("event", "events_by_batch"),
                migrations.AddIndex(
                    "event",
                    models.Index(fields=["run", "batch_number"], name="events_by_batch"),
                ),
            ]
        ),
        migrations.RemoveField("attempt", "pid_started"),
    ]
