"""Ties a process to its parent, so that nothing outlives whoever started it, not even after `kill -9`."""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: int, parent: int) -> None:
    """Have the kernel send `signum` to this process when the thread that forked it is gone (Linux only).

    Call it after the last change of user, which would clear it. `parent` is the pid expected: where it
    has died already, before the kernel was asked, the signal is sent here.
    """
    if sys.platform != "linux":
        return
    LIBC.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def tied(signum: int) -> Callable[[], None]:
    """What to give to `subprocess.Popen` as `preexec_fn`; call it in the process that is to be the parent."""
    parent = os.getpid()
    return lambda: die_with_parent(signum, parent)


def prepare_to_fork() -> None:
    """Load everything first, then call this: what is forked from here shares its memory and its fate.

    django-q2 and granian fork helpers that would otherwise go on working unguarded when their parent is
    killed; from now on the kernel ends them, and those that they fork, with it.
    """
    multiprocessing.set_start_method("fork", force=True)
    parents = [os.getpid()]

    def in_child() -> None:
        die_with_parent(signal.SIGKILL, parents[0])
        parents[0] = os.getpid()

    os.register_at_fork(after_in_child=in_child)
    gc.collect()
    gc.freeze()
