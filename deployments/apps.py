from typing import Any

from django.apps import AppConfig
from django.db import connection
from django.db.models.signals import post_migrate


class DeploymentsConfig(AppConfig):
    name = "deployments"
    verbose_name = "Deployments"

    def ready(self) -> None:
        from . import signals  # noqa: F401, PLC0415  withdrawal and allowlist changes pause live deployments

        post_migrate.connect(make_fleet_switch, sender=self)


def make_fleet_switch(**kwargs: Any) -> None:
    """The one row, with the flag off: a person, or the demo by an audited act, turns it on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fleet_switch (id, kill_switch, deployments_enabled, reason)"
            " VALUES (1, false, false, '') ON CONFLICT DO NOTHING"
        )
