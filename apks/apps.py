from django.apps import AppConfig


class ApksConfig(AppConfig):
    name = "apks"
    verbose_name = "Packages"
