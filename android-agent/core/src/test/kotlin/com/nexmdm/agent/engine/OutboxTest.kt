package com.nexmdm.agent.engine

import com.nexmdm.agent.harness.FakeClock
import com.nexmdm.agent.harness.FakeServer.Reply
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.net.DeviceAccount
import com.nexmdm.agent.net.HttpTransport
import com.nexmdm.agent.net.ServerApi
import java.net.ConnectException
import java.time.Instant
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** What waits to be told, and how it gets there. */
class OutboxTest {
    private val key = JobKey(Id("42"), 1)

    private fun report(id: Long, status: Status, progress: Int? = null, key: JobKey = this.key) =
        Report(id, key, id.toInt(), status, Instant.EPOCH, progress = progress)

    private fun full(last: (Long) -> Report): List<Report> = (1L..Outbox.MAX).map(last)

    @Test
    fun `when it is full progress goes first, then a step on the way, and an end only when there is nothing else`() {
        val next = report(1000, Status.SUCCEEDED)
        val ends = full { report(it, Status.FAILED) }

        fun lost(waiting: List<Report>): Long = (waiting - Outbox.add(waiting, next).toSet()).single().id
        val progress = report(300, Status.DOWNLOADING, 40)
        val step = report(400, Status.INSTALLING)
        val stepped = ends.map { if (it.id == 400L) step else it }
        assertEquals(300, lost(stepped.map { if (it.id == 300L) progress else it }))
        assertEquals(400, lost(stepped))
        assertEquals(1, lost(ends))
        assertEquals(Outbox.MAX, Outbox.add(ends, next).size)
    }

    @Test
    fun `only progress of the same attempt takes the place of progress`() {
        val begun = report(1, Status.DOWNLOADING, 0)
        val other = report(2, Status.DOWNLOADING, 10, JobKey(Id("42"), 2))
        val waiting = listOf(begun, other, report(3, Status.DOWNLOADING, 20))
        assertEquals(listOf(1L, 2L, 4L), Outbox.add(waiting, report(4, Status.DOWNLOADING, 30)).map { it.id })
    }

    private val clock = FakeClock(Instant.EPOCH)
    private val said = mutableListOf<Int>()
    private var answer: () -> Reply = { taken() }

    private fun taken() = Reply(200, """{"status": "installing", "attempt": 1, "final": false, "cancel": false}""")

    private val account =
        object : DeviceAccount {
            override val deviceId = Id("7")
            override val tokens = listOf("t")

            override fun accepted(token: String) = Unit
        }

    private val network =
        HttpTransport { request ->
            said += checkNotNull(SEQ.find(String(request.body ?: ByteArray(0)))).groupValues[1].toInt()
            answer()
        }
    private val courier = Courier(ServerApi("https://s.test", network, account, clock), clock, Random(1))
    private var state = State(outbox = List(3) { report(it + 1L, Status.RECEIVED) })

    private fun deliver() =
        courier.deliver(state) { event ->
            val delivered = (event as Event.Delivered).reportId
            state = state.copy(outbox = state.outbox.filterNot { it.id == delivered })
        }

    @Test
    fun `reports go in their order, and what was taken is not said again`() {
        deliver()
        deliver()
        assertEquals(listOf(1, 2, 3), said)
        assertEquals(null, courier.pauseMs(state))
    }

    @Test
    fun `no answer, or one that asks for patience, keeps everything, longer and longer`() {
        answer = { throw ConnectException() }
        val pauses =
            List(12) {
                deliver()
                checkNotNull(courier.pauseMs(state)).also { clock.elapsed += it }
            }
        assertEquals(List(12) { 1 }, said)
        assertTrue(pauses.first() in 2_500..5_000 && pauses.last() in 450_000..900_000, "$pauses")
        for (status in listOf(401, 408, 425, 429, 500, 503)) {
            answer = { Reply(status, ByteArray(0), mapOf("Retry-After" to "3600")) }
            deliver()
            assertEquals(3_600_000, courier.pauseMs(state), "$status")
            deliver()
            clock.elapsed += 3_600_000
        }
        assertEquals(12 + 6, said.size)
        assertEquals(3, state.outbox.size)
    }

    @Test
    fun `a report that the server refuses is given up in the end, and holds up no other`() {
        answer = { if (said.last() == 1) Reply(422, """{"title": "The body is not right"}""") else taken() }
        deliver()
        assertEquals(listOf(1L), state.outbox.map { it.id })
        repeat(10) {
            clock.elapsed += 1_000_000
            deliver()
        }
        assertEquals(listOf(1, 2, 3, 1, 1, 1, 1), said)
        assertEquals(emptyList(), state.outbox)
    }

    private companion object {
        val SEQ = Regex("\"seq\":(\\d+)")
    }
}
