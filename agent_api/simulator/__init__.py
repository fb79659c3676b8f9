"""A fleet of simulated devices that knows the server only by the contract of /v1/agent."""

from agent_api.simulator.behaviour import INSTANT, Behaviour
from agent_api.simulator.fleet import SimulatedFleet
from agent_api.simulator.record import peak_concurrency, peak_per_window
from agent_api.simulator.script import Script, ScriptError, demo_script, load_script, parse_script
from agent_api.simulator.shops import PROFILES, DeviceSpec, Profile, make_specs
from agent_api.simulator.threaded import FleetThread

__all__ = [
    "INSTANT",
    "PROFILES",
    "Behaviour",
    "DeviceSpec",
    "FleetThread",
    "Profile",
    "Script",
    "ScriptError",
    "SimulatedFleet",
    "demo_script",
    "load_script",
    "make_specs",
    "parse_script",
    "peak_concurrency",
    "peak_per_window",
]
