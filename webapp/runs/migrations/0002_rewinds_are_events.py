from django.db import migrations


class Migration(migrations.Migration):
    """Every rewind is an event of the log; an attempt may have more than one."""

    dependencies = [("runs", "0001_initial")]

    operations = [migrations.RemoveField(model_name="attempt", name="rewound_to")]
