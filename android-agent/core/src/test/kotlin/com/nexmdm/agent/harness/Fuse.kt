package com.nexmdm.agent.harness

/** The end of the process, at any place. Not an exception that anything may catch. */
class Killed : Error("the process was killed")

/** Counts every touch of the outside world and ends the process at the one that it is set to. */
class Fuse {
    var count = 0
        private set
    var killAt = NEVER
    val isBlown: Boolean get() = count >= killAt

    fun touch() {
        count++
        if (count == killAt) throw Killed()
    }

    /** Both sides of an effect are places where the process may end: not yet done, and done but not known. */
    inline fun <T> around(effect: () -> T): T {
        touch()
        return effect().also { touch() }
    }

    companion object {
        const val NEVER = Int.MAX_VALUE
    }
}
