from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("clients", "0002_places_and_receipts_by_age"),
    ]

    operations = [
        migrations.AddField(
            model_name="origin",
            name="told",
            field=models.JSONField(default=list),
        ),
    ]
