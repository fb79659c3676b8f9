"""Every address the product answers."""

from django.contrib import admin
from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from mdm.health import healthz, readyz

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("admin/", admin.site.urls),
]
