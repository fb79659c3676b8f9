"""Which opened form of the deploy page asked: its unused dry runs go with the next one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0011_kill_switch_since"),
    ]

    operations = [
        migrations.AddField(
            model_name="dryrun",
            name="form",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
    ]
