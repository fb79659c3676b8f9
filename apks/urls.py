from django.urls import path

from apks.downloads import serve_artifact

urlpatterns = [path("v1/artifacts/<str:sha256>.apk", serve_artifact)]
