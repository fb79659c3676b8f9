from django.db import migrations, models
from django.db.models import Q

KINDS = {
    "canary_failed": "Canary failed",
    "canary_undecided": "Canary undecided",
    "failure_rate": "Too many failures",
    "webhook_errors": "Agent reports are refused",
    "queue_backlog": "Work is late",
    "paused_too_long": "Paused for long",
    "no_progress": "Nothing moves",
    "worker_silent": "A worker is silent",
    "serial_taken": "A device was refused at enrolment",
    "reinstall_incomplete": "A reinstall is not finished",
    "archive_stuck": "Old events are not archived",
}
# One kind more is allowed; in one statement, so that there is no moment without the check.
ALLOW = "ALTER TABLE alert DROP CONSTRAINT alert_kind, ADD CONSTRAINT alert_kind CHECK (kind IN ({}))"


def _allow(kinds: list[str]) -> str:
    return ALLOW.format(", ".join(f"'{kind}'" for kind in kinds))


class Migration(migrations.Migration):
    dependencies = [("watch", "0004_cut")]

    operations = [
        migrations.CreateModel(
            name="LastCut",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("begun_at", models.DateTimeField()),
                (
                    "tries",
                    models.PositiveIntegerField(
                        help_text="How often it has begun since it last came to an end."
                    ),
                ),
                (
                    "troubles",
                    models.JSONField(default=list, help_text="What kept events from being moved."),
                ),
            ],
            options={
                "db_table": "last_cut",
                "constraints": [models.CheckConstraint(condition=Q(id=1), name="last_cut_single")],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(_allow([*KINDS]), _allow([*KINDS][:-1]))],
            state_operations=[
                migrations.AlterField(
                    model_name="alert",
                    name="kind",
                    field=models.CharField(choices=[*KINDS.items()], max_length=20),
                ),
                migrations.RemoveConstraint(model_name="alert", name="alert_kind"),
                migrations.AddConstraint(
                    model_name="alert",
                    constraint=models.CheckConstraint(condition=Q(kind__in=[*KINDS]), name="alert_kind"),
                ),
            ],
        ),
    ]
