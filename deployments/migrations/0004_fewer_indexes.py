import django.db.models.deletion
from django.db import migrations, models

# By name: Django, asked for an index on device_id to go, would take deployment_task_one_in_flight with it.
DROP = """
DROP INDEX deployment_task_deployment_id_2a00869b;
DROP INDEX deployment_task_device_id_b02ab8e6;
DROP INDEX deployment_attempt_task_id_3da8c2a6;
DROP INDEX deployment_attempt_deployment_id_a94d8f7c;
DROP INDEX deployment_attempt_device_id_8614233b;
DROP INDEX deployment_event_deployment_id_2bb9bab5;
DROP INDEX deployment_event_device_id_318c5e4d;
"""
MAKE_AGAIN = """
CREATE INDEX deployment_task_deployment_id_2a00869b ON deployment_task (deployment_id);
CREATE INDEX deployment_task_device_id_b02ab8e6 ON deployment_task (device_id);
CREATE INDEX deployment_attempt_task_id_3da8c2a6 ON deployment_attempt (task_id);
CREATE INDEX deployment_attempt_deployment_id_a94d8f7c ON deployment_attempt (deployment_id);
CREATE INDEX deployment_attempt_device_id_8614233b ON deployment_attempt (device_id);
CREATE INDEX deployment_event_deployment_id_2bb9bab5 ON deployment_event (deployment_id);
CREATE INDEX deployment_event_device_id_318c5e4d ON deployment_event (device_id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0003_what_a_final_skip_saw"),
        ("devices", "0002_index_of_zones"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(DROP, MAKE_AGAIN)],
            state_operations=[
                migrations.AlterField(
                    model_name="deploymentattempt",
                    name="deployment",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="deployments.deployment",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymentattempt",
                    name="device",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymentattempt",
                    name="task",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="deployments.deploymenttask",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymentevent",
                    name="deployment",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="deployments.deployment",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymentevent",
                    name="device",
                    field=models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymenttask",
                    name="deployment",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="deployments.deployment",
                    ),
                ),
                migrations.AlterField(
                    model_name="deploymenttask",
                    name="device",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="devices.device",
                    ),
                ),
            ],
        ),
    ]
