from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("metrics", "0003_points_to_batches")]
    operations = [migrations.DeleteModel(name="Point")]
