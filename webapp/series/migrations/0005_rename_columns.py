from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metrics", "0004_delete_point")]

    operations = [
        # Postgres renames the column inside its indexes, so that only Django's state lists the
        # index again under the new name.
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveIndex("batch", "batches_in_order")]
        ),
        migrations.RenameField("batch", "news", "batch_number"),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    "batch",
                    models.Index(
                        fields=["run", "attempt", "batch_number"], name="batches_in_order"
                    ),
                )
            ]
        ),
        migrations.RenameField("series", "broken", "not_finite"),
        migrations.RenameField("series", "straight", "monotonic_axes"),
        migrations.RenameField("chunk", "broken", "not_finite"),
    ]
