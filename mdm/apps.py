from django.apps import AppConfig
from django.db.models.signals import post_migrate


class MdmConfig(AppConfig):
    name = "mdm"
    verbose_name = "Accounts and audit"

    def ready(self) -> None:
        from .groups import ensure_groups  # noqa: PLC0415  models are loaded only now

        post_migrate.connect(ensure_groups, sender=self)
