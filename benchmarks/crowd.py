"""Fleets and deployments in any size, made by SQL so that the making takes no time worth speaking of."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.test import Client

from apks.models import ApkVersion
from deployments import tick
from deployments.models import Deployment
from deployments.operations import lifecycle
from deployments.rules.options import DeploymentOptions
from devices.selection import Target
from mdm import api_tokens, secret_tokens
from mdm.people import SYSTEM
from tests.deployments import scene

LISTED = 10_000  # nobody ticks more devices than these one by one
CALM: dict[str, Any] = {"canary": 0, "rate": 100_000, "concurrency": 100_000}

# So that a number in a recorded statement says whose it is (benchmarks.replay.retold).
_FAR_APART = (
    "ALTER SEQUENCE device_id_seq RESTART 1000001",
    "ALTER SEQUENCE deployment_task_id_seq RESTART 5000001",
)
_DEVICES = """INSERT INTO device (serial, alias, model, manufacturer, external_id, tags, groups, current_versions,
        sdk_int, abis, agent_version, max_schema, tz, fcm_token, status, hold_reason)
    SELECT 'BENCH' || n, 'till-' || n, (ARRAY['TC52', 'TC57', 'Orbic Joy 2', 'T2s'])[1 + n %% 4], 'Zebra', '',
        ARRAY['tag-' || n %% 7], ARRAY['shop-' || n %% 400],
        '{"com.nexmdm": {"version_code": 120, "version_name": "1.0.120"}}', 33, ARRAY['arm64-v8a'], '1.4.0', 1,
        (ARRAY['Europe/Berlin', 'America/New_York', 'Asia/Tokyo', ''])[1 + n %% 4],
        CASE WHEN %(push)s THEN 'token-' || n ELSE '' END, 'active', ''
    FROM generate_series(%(first)s, %(count)s) AS n"""
_BEATS = """INSERT INTO heartbeat (device_id, received_at, battery, charging, network, metered, free_storage_mb,
        doze_exempt, in_call, in_use)
    SELECT id, clock_timestamp() - id %% 600 * interval '1 second', 90, false, 'wifi', false, 8000, true, false,
        false FROM device WHERE id NOT IN (SELECT device_id FROM heartbeat)"""
_TOKENS = """INSERT INTO device_token (device_id, digest, created_at, first_used_at)
    SELECT id, encode(sha256(('nxd_bench_' || id)::bytea), 'hex'), now(), now() FROM device
        WHERE id NOT IN (SELECT device_id FROM device_token)"""
_SENT = """WITH sent AS (UPDATE deployment_task t SET status = 'sending', attempt = 1, sent_at = now(),
        in_flight_until = now() + interval '10 minutes'
    FROM (SELECT id FROM deployment_task WHERE deployment_id = %(id)s ORDER BY id LIMIT %(count)s) chosen
    WHERE t.id = chosen.id RETURNING t.*)
INSERT INTO deployment_attempt
    (task_id, deployment_id, device_id, apk_version_id, number, transport, sent_at, outcome, error_code)
SELECT id, deployment_id, device_id, %(version)s, 1, 'heartbeat', sent_at, '', '' FROM sent"""


def fleet(count: int, *, push: bool = False) -> list[int]:
    """Active, ready devices, as many as are missing from `count`; the ids of all."""
    ((there,),) = run("SELECT count(*) FROM device")
    for sql in (*(() if there else _FAR_APART), _DEVICES, _BEATS, _TOKENS):
        run(sql, {"first": there + 1, "count": count, "push": push})
    settle_down()
    return [row[0] for row in run("SELECT id FROM device ORDER BY id")]


def tasks(deployment: Deployment) -> dict[int, int]:
    """Device id -> task id."""
    return dict(run("SELECT device_id, id FROM deployment_task WHERE deployment_id = %s", [deployment.pk]))


def other_names(one: int, other: int, task_of: Mapping[int, int]) -> dict[object, object]:
    """Everything by which one device is known in statements -> the same of the other."""
    return {
        one: other,
        task_of.get(one): task_of.get(other),
        secret_tokens.digest(token(one)): secret_tokens.digest(token(other)),
    }


def token(device_id: int) -> str:
    return f"nxd_bench_{device_id}"


def started(version: ApkVersion, target: Sequence[int] | None = None, **options: Any) -> Deployment:
    """Started and planned in this process; for the entire fleet unless given ids."""
    deployment = requested(version, target, **options)
    tick.advance(deployment.pk)
    deployment.refresh_from_db()
    return deployment


def requested(version: ApkVersion, target: Sequence[int] | None = None, **options: Any) -> Deployment:
    scene.enable()
    pk = lifecycle.start(
        scene.admin(),
        apk_version_id=version.pk,
        target=Target.model_validate(_asked_for(target)),
        options=DeploymentOptions.from_json(CALM | ({"canary": 5} if target is None else {}) | options),
    )
    return Deployment.objects.get(pk=pk)


def _asked_for(target: Sequence[int] | None) -> dict[str, Any]:
    if target is None:
        return {"type": "fleet"}
    if len(target) > LISTED:
        return {"type": "selection", "filters": {"query": "BENCH"}}
    return {"type": "selection", "device_ids": [str(pk) for pk in target]}


def send(deployment: Deployment, count: int) -> None:
    """The first so many tasks are in flight, not yet acknowledged."""
    run(_SENT, {"id": deployment.pk, "count": count, "version": deployment.to_version_id})


def end(deployment: Deployment) -> None:
    """Canceled, and every device is free for the next."""
    lifecycle.cancel(scene.admin(), deployment.pk)
    free_again()


def free_again() -> None:
    """What a canceled deployment had in flight has been given up."""
    run("UPDATE deployment_task SET in_flight_until = NULL WHERE in_flight_until IS NOT NULL")


def operator() -> str:
    """The API token of a person who may do everything."""
    scene.enable()
    user = scene.admin().user
    assert user is not None
    _, text = api_tokens.issue(SYSTEM, user, name="benchmark")
    return text


def session() -> str:
    """The session cookie's value of the same person, signed in to the admin."""
    user = scene.admin().user
    assert user is not None
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def run(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def settle_down() -> None:
    """What autovacuum would have done by the time a fleet of this size exists."""
    run("VACUUM ANALYZE")
