package com.nexmdm.agent.net

import com.nexmdm.agent.harness.FakeClock
import com.nexmdm.agent.harness.FakeServer
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.proto.Beat
import com.nexmdm.agent.proto.Confirmation
import com.nexmdm.agent.proto.Delivery
import com.nexmdm.agent.proto.Enrolment
import org.junit.jupiter.api.Timeout
import java.io.InputStream
import java.time.Instant
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs

/** What is not the server's whole word counts as no word: nothing is dropped, skipped or failed for it. */
@Timeout(60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class ServerApiTest {
    private val key = JobKey(Id("42"), 1)
    private val report = Report(1, key, 1, Status.SUCCEEDED, Instant.EPOCH)
    private val device = DeviceIdentity("S1", "Joy 2", sdkInt = 34, agentPackage = "p.q", agentVersion = "1")
    private val settled = """{"status": "succeeded", "attempt": 1, "final": true, "cancel": false}"""
    private val stopped = """{"status": "skipped", "reason": "kill_switch"}"""

    private val account =
        object : DeviceAccount {
            override val deviceId = Id("7")
            override val tokens = listOf("t")

            override fun accepted(token: String) = Unit
        }

    private fun api(status: Int, text: String, length: Int? = null): ServerApi {
        val headers = length?.let { mapOf("Content-Length" to "$it") }.orEmpty()
        val transport = HttpTransport { FakeServer.Reply(status, text.toByteArray(), headers) }
        return ServerApi(FakeServer.BASE, transport, account, FakeClock(Instant.EPOCH))
    }

    private val strangers = listOf("", "{", "{}", "[]", "null", "<html>Please log in to the hotel's network</html>")

    @Test
    fun `an answer of somebody else is none`() {
        for (text in strangers) {
            assertIs<Confirmation.Unreachable>(api(200, text).confirm(key), text)
            assertIs<Confirmation.Unreachable>(api(410, text).confirm(key), text)
            assertIs<Confirmation.Unreachable>(api(404, text).confirm(key), text)
            assertIs<Delivery.Unreachable>(api(404, text).report(report), text)
            assertIs<Beat.Unreachable>(api(403, text).heartbeat(device, DeviceSnapshot(), null, null), text)
            assertIs<Enrolment.Unreachable>(api(404, text).enroll(device, "e", null, emptyList()), text)
            assertIs<Delivery.Unreachable>(api(200, text).report(report), text)
            assertIs<Enrolment.Unreachable>(api(201, text).enroll(device, "e", null, emptyList()), text)
        }
    }

    @Test
    fun `an answer that was cut short is none`() {
        assertIs<Delivery.Unreachable>(api(200, settled, length = settled.length + 1).report(report))
        assertIs<Confirmation.Unreachable>(api(410, stopped, length = stopped.length + 1).confirm(key))
    }

    /** Blanks for ever, [atOnce] of them with each look, and so much time goes by between two looks. */
    private class Endless(private val clock: FakeClock, private val ms: Long, private val atOnce: Int) :
        HttpExchange {
        override val status: Int = 200

        override fun header(name: String): String? = null

        override fun body(): InputStream =
            object : InputStream() {
                override fun read(): Int = ' '.code

                override fun read(into: ByteArray, from: Int, length: Int): Int {
                    clock.elapsed += ms
                    into.fill(' '.code.toByte(), from, from + minOf(atOnce, length))
                    return minOf(atOnce, length)
                }
            }

        override fun close() = Unit
    }

    @Test
    fun `an answer without an end is none, and neither its bytes nor its time are waited for`() {
        for ((ms, atOnce, until) in listOf(Triple(0L, 8192, 0L), Triple(1_000L, 1, 61_000L))) {
            val clock = FakeClock(Instant.EPOCH)
            val api = ServerApi(FakeServer.BASE, { Endless(clock, ms, atOnce) }, account, clock)
            assertIs<Confirmation.Unreachable>(api.confirm(key))
            assertEquals(until, clock.elapsed)
        }
    }

    @Test
    fun `nobody else is asked in the server's place, and a token goes nowhere`() {
        val asked = mutableListOf<String>()
        val transport =
            HttpTransport { request ->
                asked += request.url
                FakeServer.Reply(302, ByteArray(0), mapOf("Location" to "https://elsewhere.test/"))
            }
        val api = ServerApi(FakeServer.BASE, transport, account, FakeClock(Instant.EPOCH))
        assertIs<Confirmation.Unreachable>(api.confirm(key))
        assertIs<Delivery.Unreachable>(api.report(report))
        assertIs<Beat.Unreachable>(api.heartbeat(device, DeviceSnapshot(), null, null))
        assertIs<Enrolment.Unreachable>(api.enroll(device, "e", null, emptyList()))
        assertEquals(4, asked.count { it.startsWith(FakeServer.BASE) })
        assertEquals(4, asked.size)
    }

    @Test
    fun `the server's own word counts`() {
        assertEquals(Delivery.Taken(stop = true), api(200, settled, settled.length).report(report))
        assertEquals(Confirmation.Gone("kill_switch"), api(410, stopped).confirm(key))
        val future = """{"schema": 2, "deployment_id": 42, "device_id": 7, "attempt": 1}"""
        assertIs<Confirmation.NotUnderstood>(api(200, future).confirm(key))
        val problem = """{"type": "/problems/device_retired", "detail": "The device is retired."}"""
        assertEquals(Confirmation.Refused(404), api(404, problem).confirm(key))
        assertEquals(Delivery.Refused(422), api(422, problem).report(report))
        val refused = Enrolment.Refused(401, "The device is retired.")
        assertEquals(refused, api(401, problem).enroll(device, "e", null, emptyList()))
        assertIs<Beat.TurnedAway>(api(403, problem).heartbeat(device, DeviceSnapshot(), null, null))
        assertIs<Beat.TurnedAway>(api(401, "{}").heartbeat(device, DeviceSnapshot(), null, null))
    }
}
