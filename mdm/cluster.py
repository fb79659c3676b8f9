"""One django-q2 cluster that rather dies as a whole than goes on damaged.

A worker killed while it waits takes the lock of the shared queue with it: django-q2 puts a new worker in
its place, which then waits for ever. The same holds for its pusher and monitor. So any unclean end ends
the cluster at once; the supervisor starts a new one and the queue hands its tasks out again.
"""

import logging
import os
from multiprocessing.process import BaseProcess

from django_q import cluster

from mdm.lifeline import prepare_to_fork

log = logging.getLogger(__name__)


class FragileSentinel(cluster.Sentinel):  # type: ignore[misc]
    """Replaces only workers that ended by themselves: recycled, or after a task that took too long."""

    def reincarnate(self, process: BaseProcess) -> None:
        process.join(1.0)
        if process in self.pool and process.exitcode == 0:
            super().reincarnate(process)
            return
        log.error("A process of the worker cluster ended unexpectedly (%s); restarting it.", process.exitcode)
        for other in [*self.pool, self.monitor, self.pusher]:
            other.kill()
        os._exit(1)


def run_cluster() -> None:
    """Work until SIGTERM. Nothing forked here outlives its parent."""
    prepare_to_fork()
    cluster.Sentinel = FragileSentinel
    cluster.Cluster().start()
