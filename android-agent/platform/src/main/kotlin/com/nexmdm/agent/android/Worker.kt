package com.nexmdm.agent.android

import java.util.concurrent.TimeUnit
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.thread
import kotlin.concurrent.withLock

/** Keeps the device awake until it is told that it need not. */
public fun interface Holder {
    public fun release()
}

/**
 * The one thread on which the agent works. Between two turns it waits here if the pause is short and somebody holds the
 * device awake; a longer pause is left to [comeBack], and the holders are released. An error ends the process: what is
 * on disk is enough to go on.
 */
public class Worker(
    private val turn: () -> Long,
    private val comeBack: (inMs: Long) -> Unit,
    private val stayMs: Long = 10_000,
) {
    private val lock = ReentrantLock()
    private val called = lock.newCondition()
    private val holders = LinkedHashSet<Holder>()
    private var due = false

    init {
        thread(name = "agent", isDaemon = true) { while (true) workOnce() }
    }

    /** A turn now, or another right after the one that is going on. */
    public fun call(holder: Holder? = null): Unit =
        lock.withLock {
            if (holder != null) holders += holder
            due = true
            called.signal()
        }

    /** The holder is gone: it will not be released, and nothing is waited for on its account. */
    public fun forget(holder: Holder): Unit =
        lock.withLock {
            holders -= holder
            called.signal()
        }

    private fun workOnce() {
        lock.withLock {
            while (!due) called.await()
            due = false
        }
        val pauseMs = turn()
        val released = lock.withLock { if (isBackSoon(pauseMs)) null else holders.toList().also { holders.clear() } }
        released?.let {
            it.forEach(Holder::release)
            comeBack(pauseMs)
        }
    }

    /** Waits out a short pause; false if the agent should rather be woken again. */
    private fun isBackSoon(pauseMs: Long): Boolean {
        if (pauseMs > stayMs) return due
        var leftNs = TimeUnit.MILLISECONDS.toNanos(pauseMs)
        while (!due && leftNs > 0 && holders.isNotEmpty()) leftNs = called.awaitNanos(leftNs)
        due = due || leftNs <= 0
        return due
    }
}
