package com.nexmdm.agent.engine

import com.nexmdm.agent.net.ServerApi
import com.nexmdm.agent.policy.Backoff
import com.nexmdm.agent.proto.Delivery
import kotlin.random.Random

/** Brings the reports to the server, in order; remembers only in memory how often it was refused. */
internal class Courier(private val api: ServerApi, private val clock: Clock, private val random: Random) {
    private val backoff = Backoff(firstMs = 5_000, maxMs = 15 * 60_000)
    private val refusals = HashMap<Long, Int>()
    private var tries = 0
    private var notBeforeMs = 0L

    fun pauseMs(state: State): Long? =
        if (state.outbox.isEmpty()) null else (notBeforeMs - clock.elapsedMs()).coerceAtLeast(0)

    fun deliver(state: State, post: (Event) -> Unit) {
        if (state.outbox.isEmpty() || clock.elapsedMs() < notBeforeMs) return
        for (report in state.outbox) {
            when (val answer = api.report(report)) {
                is Delivery.Taken -> {
                    tries = 0
                    refusals.remove(report.id)
                    post(Event.Delivered(report.id))
                    if (answer.stop && state.job?.key == report.key) post(Event.Poked)
                }
                is Delivery.Refused -> if (isHopeless(report.id)) post(Event.Delivered(report.id)) else rest(null)
                is Delivery.Unreachable -> return rest(answer.retryAfterMs)
            }
        }
    }

    private fun isHopeless(reportId: Long): Boolean {
        val count = (refusals[reportId] ?: 0) + 1
        if (count < MAX_REFUSALS) refusals[reportId] = count else refusals.remove(reportId)
        return count >= MAX_REFUSALS
    }

    private fun rest(askedMs: Long?) {
        tries++
        notBeforeMs = clock.elapsedMs() + backoff.pauseMs(tries, random, askedMs)
    }

    private companion object {
        const val MAX_REFUSALS = 5
    }
}
