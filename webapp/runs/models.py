"""Runs and what belongs to them.

Postgres is the only source of truth; every write that may be repeated has a unique key that makes
it idempotent. Times are of the database's clock, because the clocks of hosts differ; only those of
events and checkpoints are of the trainer's.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team

# Without characters that look alike: i, l, o, 0, 1.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def public_id() -> str:
    """Return a random name for a run in URLs: hard to guess, easy to read aloud."""
    # 31^10, about 8e14 names: two of a million runs share one with a probability below 0.001, and
    # the unique column would refuse the second.
    return "".join(secrets.choice(ALPHABET) for _ in range(10))


class State(models.TextChoices):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"


ACTIVE = (State.STARTING, State.RUNNING, State.STOPPING)
FINISHED = (State.PAUSED, State.STOPPED, State.COMPLETED, State.FAILED)


class Priority(models.IntegerChoices):
    LOW = -1, "low"
    NORMAL = 0, "normal"
    HIGH = 1, "high"


class Run(models.Model):
    """A run of any source.

    `attempt` is the fencing number (see `leases`). `batch_count` counts the batches of events that
    were appended; it is the cursor of live pages. `queue_position` is set when somebody moved the
    run in the queue (None: ordered by `queued_at`), and `on_hold` keeps it from being placed.
    `memory_bytes` is the least memory that each of its processes needs, None if unknown.

    `name`, `notes` (Markdown), `tags`, `pinned` (for the whole team) and `archived_at` are what
    people write about the run; `edits` counts their changes, so that open pages notice them.
    A run with `deleted_at` is hidden from everybody until it is restored or removed for good (see
    `deletion`).
    """

    class Source(models.TextChoices):
        MANAGED = "managed"
        CLIENT = "client"
        IMPORTED = "imported"

    public_id = models.CharField(max_length=16, unique=True, default=public_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=120)
    source = models.CharField(max_length=8, choices=Source, default=Source.MANAGED)
    recipe = models.CharField(max_length=32, blank=True)
    spec = models.JSONField(null=True)
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)
    tags = models.JSONField(default=list)
    notes = models.TextField(blank=True)
    pinned = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True)
    edits = models.IntegerField(default=0)
    deleted_at = models.DateTimeField(null=True)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    attempt = models.IntegerField(default=0)
    lease_holder = models.CharField(max_length=200, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    stop_requested_at = models.DateTimeField(null=True)
    force_requested_at = models.DateTimeField(null=True)
    after_stop = models.CharField(max_length=10, choices=State, default=State.STOPPED)
    resume_after_restart = models.BooleanField(default=False)
    priority = models.SmallIntegerField(choices=Priority, default=Priority.NORMAL)
    queue_position = models.IntegerField(null=True)
    queued_at = models.DateTimeField(db_default=Now())
    on_hold = models.BooleanField(default=False)
    memory_bytes = models.BigIntegerField(null=True)
    restarts = models.SmallIntegerField(default=0)
    max_restarts = models.SmallIntegerField(null=True)
    reason = models.TextField(blank=True)
    remedy = models.TextField(blank=True)

    batch_count = models.BigIntegerField(default=0)
    step = models.BigIntegerField(default=0)
    total_steps = models.BigIntegerField(null=True)
    last_event_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    summary = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["team", "-created_at"]),
            models.Index(fields=["team", "name", "id"], name="runs_by_name"),
            models.Index(fields=["team", "state", "id"], name="runs_by_state"),
            models.Index(fields=["team", "recipe", "id"], name="runs_by_recipe"),
            # Partial, because the sweep looks for waiting and expired runs every few seconds, and
            # nearly all runs have ended.
            models.Index(
                fields=["heartbeat_at"],
                name="active_runs",
                condition=models.Q(state__in=["queued", *ACTIVE]),
            ),
            # Partial as well: few runs are deleted and wait for their removal, few have tags
            # and few are pinned.
            models.Index(
                fields=["deleted_at"],
                name="deleted_runs",
                condition=models.Q(deleted_at__isnull=False),
            ),
            models.Index(fields=["team", "id"], name="tagged_runs", condition=~models.Q(tags=[])),
            models.Index(
                fields=["team", "id"], name="pinned_runs", condition=models.Q(pinned=True)
            ),
            # What lists show; the runs of a team are found in it without their wide rows.
            models.Index(
                fields=["team", "id"],
                name="listed_runs",
                condition=models.Q(deleted_at=None, archived_at=None),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Attempt(models.Model):
    """One attempt at a run, with its own folder and log; rewinds in the log replace earlier steps.

    `host` is the machine that keeps the log. If it leads several machines, `meeting` is where they
    meet and the checkpoint that they start from, once known:
    {"place": "10.0.0.5:29400", "checkpoint": 17 or null}.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    host = models.CharField(max_length=200, blank=True)
    folder = models.CharField(max_length=1024, blank=True)
    pid = models.IntegerField(null=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    step = models.BigIntegerField(default=0)
    last_seq = models.BigIntegerField(default=0)
    exit = models.JSONField(null=True)
    meeting = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="one_row_per_attempt")
        ]

    @property
    def machines(self) -> str:
        """Names such as `alder, birch and cedar`, the leading machine first."""
        *further_hosts, last = [
            self.host,
            *self.members.order_by("number").values_list("host", flat=True),
        ]
        return f"{', '.join(further_hosts)} and {last}" if further_hosts else last


class Member(models.Model):
    """A machine that executes an attempt together with the leading one, which is number 0.

    Its heartbeat is its lease. `reason` says why its part ended; `exit` is the exit status of its
    trainer, None if unknown.
    """

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="members")
    number = models.IntegerField()
    host = models.CharField(max_length=200)
    heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    exit = models.JSONField(null=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "number"], name="one_row_per_member")
        ]
        indexes = [
            models.Index(
                fields=["host"], name="members_at_work", condition=models.Q(finished_at=None)
            )
        ]

    def __str__(self) -> str:
        return self.host


class Transition(models.Model):
    """A change of a run's state, with its reason; `state` is empty if something else changed."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="transitions")
    attempt = models.IntegerField()
    state = models.CharField(max_length=10, choices=State, blank=True)
    reason = models.TextField(blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    at = models.DateTimeField(db_default=Now())


class Event(models.Model):
    """An event of a log: pass rates, log lines, checkpoints, progress, rewinds.

    Metrics are in `webapp.series`, rollouts also in `RolloutRow`. `batch_number` is the run's
    `batch_count` when the event was appended or changed.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    attempt = models.IntegerField()
    seq = models.BigIntegerField()
    type = models.CharField(max_length=20)
    step = models.BigIntegerField(null=True)
    wall_time = models.DateTimeField()
    payload = models.JSONField()
    batch_number = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "seq"], name="one_row_per_event")
        ]
        indexes = [
            models.Index(fields=["run", "type", "step"]),
            # What live pages ask: events past a cursor.
            models.Index(fields=["run", "batch_number"], name="events_by_batch"),
        ]


class Checkpoint(models.Model):
    """A checkpoint whose files are all in the artifact store, so that a run can resume from it.

    `manifest` maps file names to their sha256 and size.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoints")
    attempt = models.IntegerField()
    seq = models.BigIntegerField()
    step = models.BigIntegerField()
    stage = models.CharField(max_length=32, blank=True)
    folder = models.CharField(max_length=255)
    size = models.BigIntegerField()
    best = models.BooleanField(default=False)
    metrics = models.JSONField(default=dict)
    manifest = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "attempt", "folder"], name="one_row_per_checkpoint"
            )
        ]


class RolloutRow(models.Model):
    """The index entry of one kept rollout; its tokens are row `offset` of the Parquet artifact."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="rollouts")
    attempt = models.IntegerField()
    seq = models.BigIntegerField()
    offset = models.IntegerField()
    step = models.BigIntegerField()
    stage = models.CharField(max_length=32, blank=True)
    problem = models.CharField(max_length=200)
    role = models.CharField(max_length=12, blank=True)
    source = models.CharField(max_length=10)
    sample = models.IntegerField(default=0)
    verdict = models.BooleanField(null=True)
    truncated = models.BooleanField(default=False)
    length = models.IntegerField()
    weight = models.FloatField(null=True)
    divergence = models.FloatField(null=True)
    excerpt = models.CharField(max_length=240)
    artifact = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "attempt", "seq", "offset"], name="one_row_per_rollout"
            )
        ]
        indexes = [
            models.Index(fields=["run", "step"]),
            models.Index(fields=["run", "problem", "step"]),
        ]


class Evaluation(models.Model):
    """The results of one evaluation by problem, in the Parquet artifact `artifact`.

    Two evaluations can be compared if `set_fingerprint` (the problems) and `conditions` (verifier,
    prompt template, answer limit, sampling) are equal. `when` is about training, as in the event.
    `job` is the public id of the job that evaluated a checkpoint of the run; `seq` is then that of
    the checkpoint.
    """

    class When(models.TextChoices):
        BEFORE = "before"
        DURING = "during"
        AFTER = "after"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="evaluations")
    attempt = models.IntegerField()
    seq = models.BigIntegerField()
    step = models.BigIntegerField()
    role = models.CharField(max_length=12)
    when = models.CharField(max_length=6, choices=When)
    set_fingerprint = models.CharField(max_length=64)
    conditions = models.JSONField(default=dict)
    problem_count = models.BigIntegerField()
    artifact = models.CharField(max_length=64)
    job = models.CharField(max_length=16, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "attempt", "seq", "job"], name="one_row_per_evaluation"
            )
        ]
        indexes = [models.Index(fields=["run", "role", "step"], name="evaluations_by_step")]


class RemovedRun(models.Model):
    """The public id of a run that was removed for good.

    The machines that carried it out, of which some may be off, remove their folders by it.
    """

    public_id = models.CharField(max_length=16, primary_key=True)


class RunValue(models.Model):
    """A figure or a setting of a run by which runs are filtered, sorted and grouped.

    A key is a metric's name (its last value), the name with `.best` or `.best_step`, the dotted
    path of a setting, or a short name (see `run_values`). Numbers are in `number`, everything else
    in `text`, NaN included: it sorts behind every number. `is_setting` tells which of the two
    writers of a run owns the row.
    """

    pk = models.CompositePrimaryKey("run_id", "key")
    # The primary key begins with the run, and the indexes below with the team.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="values", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=130)
    number = models.FloatField(null=True)
    text = models.CharField(max_length=200, null=True)
    is_setting = models.BooleanField()

    class Meta:
        # Partial, because a row has a number or a text: each index holds its own half.
        indexes = [
            models.Index(
                fields=["team", "key", "number", "run"],
                name="run_values_by_number",
                condition=models.Q(number__isnull=False),
            ),
            models.Index(
                fields=["team", "key", "text", "run"],
                name="run_values_by_text",
                condition=models.Q(text__isnull=False),
            ),
        ]


class RunIndex(models.Model):
    """What free words find a run by, and how far its values were read.

    `text` is that of its settings, in lower case. `words` are those of `search_words`, None if they
    were not written yet. What exceeds the limits of `run_values` is counted as left out. The
    figures are those of the run's `batch_count` `read_batch`, read at `read_at`.
    """

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="search_index"
    )
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    text = models.TextField(default="")
    words = SearchVectorField(null=True)
    settings_left_out = models.IntegerField(default=0)
    figures_left_out = models.IntegerField(default=0)
    read_batch = models.BigIntegerField(default=-1)
    read_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [GinIndex(fields=["words"], name="runs_by_word")]


class SavedView(models.Model):
    """A filter, sort and choice of columns of the list of runs under a name; `query` is a URL's."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=4000)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_view_per_name")]

    def __str__(self) -> str:
        return self.name
