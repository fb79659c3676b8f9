from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mdm", "0002_worker_beat"),
    ]

    operations = [
        migrations.CreateModel(
            name="Throttle",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("scope", models.CharField(max_length=40)),
                ("key", models.CharField(max_length=80)),
                ("empty_at", models.DateTimeField()),
                ("noted_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "slowed sign-in",
                "db_table": "throttle",
                "ordering": ["-empty_at"],
                "constraints": [models.UniqueConstraint(fields=("scope", "key"), name="throttle_once")],
            },
        ),
    ]
