import json
from pathlib import Path

import pytest

from agent_api.simulator import Behaviour, ScriptError, demo_script, load_script, make_specs, parse_script

BEHAVIOURS = [
    pytest.param({"fail": {"code": "x", "at": "lunch"}}, "fail.at", id="unknown step"),
    pytest.param({"fail": {"cod": "x"}}, "fail.code", id="missing code"),
    pytest.param({"fail": {"code": "x", "probability": 1.1}}, "fail.probability", id="probability over one"),
    pytest.param({"slow": 0}, "slow", id="factor of nothing"),
    pytest.param({"slow": "3"}, "slow", id="number as text"),
    pytest.param({"slwo": 3}, "there is no knob 'slwo'", id="misspelt knob"),
    pytest.param({"readings": {"battery": 101}}, "readings.battery", id="battery over a hundred"),
    pytest.param({"readings": {"network": "5g"}}, "readings.network", id="unknown network"),
    pytest.param({"unreported": ["colour"]}, "no field 'colour'", id="unknown field of a heartbeat"),
    pytest.param(
        {"offline": {"from_sec": 9, "until_sec": 9}}, "greater than from_sec", id="empty offline time"
    ),
    pytest.param({"latency": {"start": {"min_sec": 2, "max_sec": 1}}}, "max_sec", id="latency upside down"),
    pytest.param({"download": "perhaps"}, "download", id="unknown download mode"),
    pytest.param(
        {"packages": [{"package": "com.a", "version_code": 0}]}, "version_code", id="version nought"
    ),
]


@pytest.mark.parametrize(("behaviour", "place"), BEHAVIOURS)
def test_a_behaviour_that_no_device_can_have_is_refused_in_one_sentence(
    behaviour: dict[str, object], place: str
) -> None:
    script = json.dumps({"groups": [{"name": "odd ones", "count": 1, "behaviour": behaviour}]})
    with pytest.raises(ScriptError) as refused:
        parse_script(script, "s.json")
    assert str(refused.value).startswith("s.json: group 'odd ones': ")
    assert place in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "cannot be parsed", id="half a file"),
        pytest.param("[" * 100_000, "cannot be parsed", id="nested beyond reason"),
        pytest.param("[]", "Input should be", id="a list"),
        pytest.param('{"group": []}', "there is no knob 'group'", id="misspelt groups"),
        pytest.param(
            '{"groups": [{"behaviour": {}, "count": 1}]}', "groups.0.name", id="group without a name"
        ),
        pytest.param('{"groups": [{"name": "a", "behaviour": {}}]}', "match, count and share", id="nobody"),
        pytest.param(
            '{"groups": [{"name": "a", "behaviour": {}, "count": 1, "share": 0.5}]}',
            "not both",
            id="two sizes",
        ),
        pytest.param('{"defaults": {"slow": -1}}', "defaults: slow", id="bad defaults"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ScriptError, match=words):
        parse_script(text, "s.json")


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load_script(tmp_path / "nothing.json")


def test_groups_take_devices_in_order_and_defaults_hold_for_all() -> None:
    script = parse_script(
        """
        [defaults]
        slow = 2.0
        [[groups]]
        name = "the third"
        match = { number = 3 }
        behaviour = { slow = 5.0 }
        [[groups]]
        name = "two kiosks"
        match = { profile = "* kiosk" }
        count = 2
        behaviour = { download = "skip" }
        [[groups]]
        name = "half of the fleet"
        share = 0.5
        behaviour = { ignore_cancel = true }
        """,
        "s.toml",
    )
    cast = script.cast(make_specs(20))
    assert cast[2].behaviour == Behaviour(slow=5.0)
    skipping = [spec for spec in cast if spec.behaviour.download == "skip"]
    assert len(skipping) == 2
    assert all(spec.profile.endswith("kiosk") and spec.behaviour.slow == 2.0 for spec in skipping)
    assert sum(spec.behaviour.ignore_cancel for spec in cast) == 10
    assert cast == script.cast(make_specs(20))
    assert cast != script.cast(make_specs(20), seed=2)


def test_the_demo_has_one_misfit_of_each_kind_and_only_good_agents_besides() -> None:
    cast = demo_script().cast(make_specs(25))
    misfits = [spec.number for spec in cast if spec.behaviour != Behaviour()]
    assert misfits == [8, 10, 12, 15, 17, 19, 22]


def test_a_seed_decides_the_serials_and_they_are_all_different() -> None:
    assert make_specs(50) == make_specs(50)
    serials = {spec.serial for seed in (1, 2) for spec in make_specs(1000, seed)}
    assert len(serials) == 2000
