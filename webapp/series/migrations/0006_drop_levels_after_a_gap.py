"""Drop the bucket levels that were made from a level over 2 bits finer: points were put into wrong
buckets of them.

The finer levels are right. Charts are drawn from these, and the next points of a run make the
dropped levels again.
"""

from __future__ import annotations

from django.db import migrations

# A bit of `starts` is a level without one 2 bits finer; the second lowest is the first after a gap.
# The batch count of a run is also the tag by which browsers keep its charts.
DROP = """
WITH all_starts AS (
    SELECT id, levels & (~(levels << 2)) AS starts FROM metrics_series WHERE levels <> 0
), gapped AS (
    SELECT id, starts & (starts - 1) AS later FROM all_starts WHERE (starts & (starts - 1)) <> 0
), changed AS (
    UPDATE metrics_series AS series SET levels = levels & ((later & (-later)) - 1)
    FROM gapped WHERE series.id = gapped.id RETURNING series.id, series.run_id, series.levels
), renewed AS (
    UPDATE runs_run SET batch_count = batch_count + 1 WHERE id IN (SELECT run_id FROM changed)
)
DELETE FROM metrics_level AS level USING changed
WHERE level.series_id = changed.id AND (changed.levels >> level.bits) & 1 = 0
"""


class Migration(migrations.Migration):
    dependencies = [("metrics", "0005_rename_columns"), ("runs", "0005_plain_names")]
    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop)]
