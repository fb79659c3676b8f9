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
import java.time.Instant
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs

/** What is not the server's whole word counts as no word: nothing is dropped, skipped or failed for it. */
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
            assertIs<Delivery.Unreachable>(api(200, text).report(report), text)
            assertIs<Enrolment.Unreachable>(api(201, text).enroll(device, "e", null, emptyList()), text)
        }
    }

    @Test
    fun `an answer that was cut short is none`() {
        assertIs<Delivery.Unreachable>(api(200, settled, length = settled.length + 1).report(report))
        assertIs<Confirmation.Unreachable>(api(410, stopped, length = stopped.length + 1).confirm(key))
    }

    @Test
    fun `the server's own word counts`() {
        assertEquals(Delivery.Taken(stop = true), api(200, settled, settled.length).report(report))
        assertEquals(Confirmation.Gone("kill_switch"), api(410, stopped).confirm(key))
        val future = """{"schema": 2, "deployment_id": 42, "device_id": 7, "attempt": 1}"""
        assertIs<Confirmation.NotUnderstood>(api(200, future).confirm(key))
        assertIs<Beat.Unauthorized>(api(401, "{}").heartbeat(device, DeviceSnapshot(), null, null))
    }
}
