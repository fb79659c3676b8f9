from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Devices"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415  registers the system checks of the push transport
