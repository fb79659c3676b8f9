"""The tables. Where a row is locked and why: ARCHITECTURE.md, Locking."""

from deployments.models.deployment import (
    Deployment,
    DeploymentBell,
    DeploymentNumbers,
    DeploymentTarget,
    StartRequest,
)
from deployments.models.dry_run import DryRun, DryRunDevice
from deployments.models.event import DeploymentEvent
from deployments.models.switch import FleetSwitch
from deployments.models.task import DeploymentAttempt, DeploymentTask

__all__ = [
    "Deployment",
    "DeploymentAttempt",
    "DeploymentBell",
    "DeploymentEvent",
    "DeploymentNumbers",
    "DeploymentTarget",
    "DeploymentTask",
    "DryRun",
    "DryRunDevice",
    "FleetSwitch",
    "StartRequest",
]
