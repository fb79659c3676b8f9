from django.apps import AppConfig


class WatchConfig(AppConfig):
    name = "mdm.watch"
    label = "watch"
    verbose_name = "Alerts"

    def ready(self) -> None:
        from . import checks, signals  # noqa: F401, PLC0415  what is said at the start; what other apps tell
