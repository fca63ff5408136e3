"""Count the values of each key exactly, instead of those of the hundred most frequent ones.

A team's runs have several hundred keys. Where Postgres takes a frequent key for a rare one, it
reads all runs that have it before it sorts them, for a page of fifty.
"""

from __future__ import annotations

from django.db import migrations

COUNT = "ALTER TABLE runs_runvalue ALTER COLUMN key SET STATISTICS 1000"
ANALYZE = "ANALYZE runs_runvalue"
COUNT_LESS = "ALTER TABLE runs_runvalue ALTER COLUMN key SET STATISTICS -1"


class Migration(migrations.Migration):
    dependencies = [("runs", "0016_removed_runs")]
    operations = [
        migrations.RunSQL(COUNT, COUNT_LESS),
        migrations.RunSQL(ANALYZE, migrations.RunSQL.noop),
    ]
