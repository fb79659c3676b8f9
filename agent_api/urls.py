from django.urls import path

from agent_api import api

TASK = "v1/agent/deployments/<str:deployment_id>/devices/<str:device_id>"

# The hot ones first.
urlpatterns = [
    path(f"{TASK}/status", api.status),
    path("v1/agent/devices/<str:device_id>/heartbeat", api.heartbeat),
    path(TASK, api.confirm),
    path("v1/agent/enroll", api.enroll),
    path("v1/agent/devices/<str:device_id>/token", api.rotate_token),
    path("v1/agent/openapi.json", api.describe),
]
