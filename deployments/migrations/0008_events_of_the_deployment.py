from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0007_counted_once_for_all"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="deploymentevent",
            index=models.Index(
                condition=models.Q(("device__isnull", True)),
                fields=["deployment", "id"],
                name="deployment_event_of_itself",
            ),
        ),
    ]
