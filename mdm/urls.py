"""Every address the product answers."""

from django.contrib import admin
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from mdm.api import api
from mdm.health import healthz, readyz
from mdm.watch.metrics_page import metrics

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/", admin.site.urls),
    path("", include("agent_api.urls")),  # before /v1/, which knows nothing of agents
    path("", include("apks.urls")),
    path("v1/", api.urls),
]
