"""Whether the agent in Kotlin was built here, so that simulated devices can run its core. Nothing else wants a JDK."""

import shutil
from pathlib import Path

from django.conf import settings

SIM_JAR = Path("android-agent/sim/target/sim.jar")
# A device is small; what the JVM keeps beside it should be too.
JVM_OPTIONS = ("-Xmx96m", "-XX:+UseSerialGC")


def sim_command() -> list[str] | None:
    """How the simulation is called, without its own options; None where `make agent` was not run or Java is gone."""
    jar, java = settings.BASE_DIR / SIM_JAR, shutil.which("java")
    return [java, *JVM_OPTIONS, "-jar", str(jar)] if java and jar.exists() else None
