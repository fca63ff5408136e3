from django.db import migrations, models


class Migration(migrations.Migration):
    """Name what a device is allocated to."""

    dependencies = [("nodes", "0001_initial")]

    operations = [
        migrations.RenameField("device", "holder", "allocated_to"),
        migrations.RenameField("device", "held_since", "allocated_since"),
        # The index follows its column by itself; only Django's record of it has to be brought up
        # to date.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("device", "held_devices"),
                migrations.AddIndex(
                    "device",
                    models.Index(
                        fields=["allocated_to"],
                        name="held_devices",
                        condition=~models.Q(allocated_to=""),
                    ),
                ),
            ]
        ),
    ]
