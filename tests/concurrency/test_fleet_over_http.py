"""The started product and 300 devices over HTTP, from the upload of a signed APK to `complete`."""

from collections.abc import Iterator
from typing import Any

import pytest

from agent_api.simulator import peak_concurrency
from tests.concurrency import ledger
from tests.concurrency.product import Product, on_air

DEVICES = 300
PATIENCE_SEC = 240.0
TEST_GROUP, OTHER_SHOP = "shop-berlin-1", "shop-hamburg-1"
AGENT, OTHER = "com.nexmdm", "com.example.speedtest"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with on_air(tmp_path_factory.mktemp("fleet") / "var", DEVICES) as product:
        yield product


def test_an_upgrade_of_the_agent_on_a_test_group_leaves_every_other_device_untouched(
    product: Product,
) -> None:
    members = {item["id"] for item in _listed(product, f"groups={TEST_GROUP}")}
    others = sorted(set(product.device_ids()) - members)
    assert (len(members), len(others)) == (60, 240)
    before = product.trace(others)
    deployment = product.deploy(
        product.upload(AGENT, 121),
        {"type": "selection", "filters": {"groups": [TEST_GROUP]}},
        canary=5,
        rate=200,
        concurrency=12,
    )
    seen = product.ends(deployment, within=PATIENCE_SEC)
    assert (seen["status"], seen["counts"]["succeeded"], seen["counts"]["total"]) == ("complete", 60, 60)
    assert seen["canary"]["state"] == "passed"
    assert {send.device for send in product.sends(deployment)} == members
    assert ledger.most_at_once(product.sends(deployment)) <= 12
    assert product.versions(sorted(members), AGENT) == {121}
    assert product.trace(others) == before
    assert product.call("GET", f"/v1/deployments/{deployment}/tasks?page_size=500")["count"] == 60


def test_a_shop_is_never_dark_and_only_apps_that_were_seen_to_run_count(product: Product) -> None:
    deployment = product.deploy(
        product.upload(AGENT, 121),
        {"type": "selection", "filters": {"groups": [OTHER_SHOP]}},
        canary=5,
        rate=1000,
        concurrency=30,
        max_per_group=4,
        spread_groups="shop-*",
        health_within_min=5,
        post_install={"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {}}},
    )
    seen = product.ends(deployment, within=PATIENCE_SEC)
    assert (seen["status"], seen["counts"]["succeeded"], seen["counts"]["total"]) == ("complete", 60, 60)
    assert ledger.most_at_once(product.sends(deployment)) == 4
    unproven = """SELECT id FROM deployment_event e WHERE deployment_id = %s AND meta ->> 'after' = 'succeeded'
        AND NOT EXISTS (SELECT 1 FROM deployment_event v WHERE v.deployment_id = e.deployment_id
            AND v.device_id = e.device_id AND v.meta ->> 'phase' = 'verifying' AND v.id < e.id)"""
    assert product.rows(unproven, deployment) == []


def _listed(product: Product, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = product.call("GET", f"/v1/devices?page_size=500&{query}")["items"]
    return found


def test_a_selection_of_the_fleet_comes_to_complete_within_its_limits_and_nobody_else_is_impacted(
    product: Product,
) -> None:
    ids = product.device_ids()
    outside, chosen = ids[::10], [device for index, device in enumerate(ids) if index % 10]
    before = product.trace(outside)
    deployment = product.deploy(
        product.upload(OTHER, 41),
        {"type": "selection", "device_ids": chosen},
        canary=5,
        rate=1000,
        concurrency=40,
    )
    seen = product.ends(deployment, within=PATIENCE_SEC)
    sends = product.sends(deployment)
    assert (seen["status"], seen["counts"]["succeeded"], seen["counts"]["total"]) == ("complete", 270, 270)
    assert ledger.most_per_minute(sends) <= 1000
    assert ledger.most_at_once(sends) <= 40
    assert ledger.twice_at_once(sends) == []
    assert sorted({send.device for send in sends}) == chosen
    assert product.versions(chosen, OTHER) == {41}
    assert product.trace(outside) == before
    ran = product.fleet.do(lambda fleet: fleet.record.executions(lambda it: it.deployment_id == deployment))
    assert 1 <= peak_concurrency(ran) <= 40
