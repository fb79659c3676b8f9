"""The bodies that ask for a rollback or a retry."""

from typing import Annotated

from pydantic import ConfigDict, Field

from deployments.wire import Reason, Status
from mdm.wire_types import Flag, Strict, examples


class RollbackIn(Strict):
    """The first two are for a reinstall, which deletes the app's data: the version that will be installed, typed."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"reason": "Tills freeze"},
            {"accept_data_loss": True, "confirm_version": "1.0.120", "expected_status": "paused"},
        )
    )

    accept_data_loss: Flag | None = None
    confirm_version: Annotated[str, Field(max_length=255)] | None = None
    reason: Reason | None = None
    expected_status: Status | None = None


class RetryIn(Strict):
    model_config = ConfigDict(json_schema_extra=examples({"expected_status": "complete"}))

    expected_status: Status | None = None
