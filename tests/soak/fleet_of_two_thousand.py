"""2,000 devices over HTTP at rate 1,000 and concurrency 200; minutes, so not part of `make test`."""

from pathlib import Path

from agent_api.simulator import peak_concurrency, peak_per_window
from tests.concurrency import ledger
from tests.concurrency.product import Product, on_air

DEVICES, OUTSIDE, RATE, CONCURRENCY = 2_100, 100, 1_000, 200
PATIENCE_SEC = 2_400.0


def test_two_thousand_devices_come_to_complete_within_rate_and_concurrency(tmp_path: Path) -> None:
    with on_air(tmp_path / "var", DEVICES) as product:
        ids = product.device_ids()
        outside, chosen = ids[:OUTSIDE], ids[OUTSIDE:]
        before = product.trace(outside)
        deployment = product.deploy(
            product.upload("com.nexmdm", 121),
            {"type": "selection", "device_ids": chosen},
            canary=20,
            rate=RATE,
            concurrency=CONCURRENCY,
        )
        seen = product.ends(deployment, PATIENCE_SEC, beats=40)
        assert (seen["status"], seen["counts"]["succeeded"]) == ("complete", DEVICES - OUTSIDE)
        _check_limits(product, deployment)
        assert sorted({send.device for send in product.sends(deployment)}) == chosen
        assert product.trace(outside) == before


def _check_limits(product: Product, deployment: int) -> None:
    """By the ledger, and by what the devices saw themselves."""
    sends = product.sends(deployment)
    assert ledger.most_per_minute(sends) <= RATE
    assert ledger.most_at_once(sends) <= CONCURRENCY
    assert ledger.twice_at_once(sends) == []
    assert peak_concurrency(product.fleet.do(lambda fleet: fleet.record.executions())) <= CONCURRENCY
    assert peak_per_window((send.start.timestamp() for send in sends), 60) <= RATE
