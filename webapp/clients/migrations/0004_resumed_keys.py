from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("clients", "0003_series_that_have_told")]
    operations = [migrations.RenameField("origin", "told", "resumed_keys")]
