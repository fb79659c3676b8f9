package com.nexmdm.agent.policy

import kotlin.random.Random

/** Exponential, jittered over the upper half, so that devices do not come back as one. Milliseconds. */
public class Backoff(
    private val firstMs: Long,
    private val maxMs: Long,
) {
    /** The pause after [tries] failures (1 = the first); what the server asked for is the least. */
    public fun pauseMs(tries: Int, random: Random, askedMs: Long? = null): Long {
        if (tries <= 0) return 0
        val ceiling = (firstMs shl (tries - 1).coerceAtMost(MAX_SHIFT)).coerceIn(firstMs, maxMs)
        val jittered = ceiling / 2 + random.nextLong(ceiling / 2 + 1)
        return maxOf(jittered, (askedMs ?: 0).coerceIn(0, MAX_ASKED_MS))
    }

    public companion object {
        private const val MAX_SHIFT = 20
        private const val MAX_ASKED_MS = 60 * 60 * 1000L

        /** A server's interval of seconds, ten per cent earlier or later, so that a fleet does not beat as one. */
        public fun jittered(intervalSec: Int, random: Random): Long {
            val ms = intervalSec.coerceIn(1, 24 * 3600) * 1000L
            return ms * 9 / 10 + random.nextLong(ms / 5 + 1)
        }
    }
}
