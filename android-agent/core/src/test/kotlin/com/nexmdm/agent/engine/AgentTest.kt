package com.nexmdm.agent.engine

import com.nexmdm.agent.harness.FakeClock
import com.nexmdm.agent.harness.FakeDevice
import com.nexmdm.agent.harness.FakeServer.Reply
import com.nexmdm.agent.harness.Fuse
import com.nexmdm.agent.harness.MemoryFile
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.net.HttpRequest
import com.nexmdm.agent.net.HttpTransport
import java.net.ConnectException
import java.time.Instant
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** What an agent does when no command is about: enrols, beats, changes its token, and rests. */
class AgentTest {
    private val clock = FakeClock(Instant.parse("2026-11-24T10:00:00Z"))
    private val device = FakeDevice(Fuse(), clock)
    private val account = MemoryFile()
    private val asked = mutableListOf<HttpRequest>()

    /** By the end of the address; what is not here is not reached. */
    private val answers = mutableMapOf<String, () -> Reply>("/enroll" to { enrolled("t1") }, "/heartbeat" to { beat() })

    private val network =
        HttpTransport { request ->
            asked += request
            val answer = answers.entries.firstOrNull { request.url.endsWith(it.key) } ?: throw ConnectException("gone")
            answer.value()
        }

    private fun enrolled(token: String) = Reply(201, """{"device_id": 7, "device_token": "$token"}""")

    private fun beat() = Reply(200, """{"checkin_interval_sec": 60, "commands": []}""")

    private fun agent(server: String = "https://one.test", token: String? = "nxe_1"): Agent {
        val identity = DeviceIdentity("S1", "Joy 2", sdkInt = 34, agentPackage = "com.nexmdm", agentVersion = "1")
        val settings = AgentSettings(server, identity, MemoryFile(), account)
        val ports = Ports(device.sessions, device.packagePort, device.device, clock)
        return Agent(settings, ports, network, Random(1)).apply { enrollmentToken = token }
    }

    private fun paths(): List<String> = asked.map { it.url.substringAfterLast('/') }.also { asked.clear() }

    private fun tokens(): List<String?> = asked.map { it.headers["Authorization"]?.removePrefix("Bearer ") }

    private fun pass(ms: Long) {
        clock.elapsed += ms
    }

    @Test
    fun `without an enrolment token there is nothing to do and nothing to come back for`() {
        assertEquals(Agent.NEVER, agent(token = null).work())
        assertEquals(emptyList(), paths())
    }

    @Test
    fun `a refused enrolment is not tried again, a failed one is`() {
        answers["/enroll"] = { Reply(401, """{"detail": "This token is spent."}""") }
        val refused = agent()
        assertEquals(Agent.NEVER, refused.work())
        pass(3_600_000)
        assertEquals(Agent.NEVER, refused.work())
        assertEquals(listOf("enroll"), paths())
        assertEquals("This token is spent.", refused.refused?.why)
        for (passing in listOf(302, 408, 425, 429, 500, 503)) {
            answers["/enroll"] = { Reply(passing, "{}") }
            val pause = agent().apply { work() }.work()
            assertTrue(pause in 1_000..300_000, "$passing: $pause")
            assertEquals(listOf("enroll"), paths(), "$passing: asked again before its time")
        }
    }

    @Test
    fun `an enrolment that cannot be written down is done again`() {
        account.fullAt = 1
        val agent = agent()
        pass(agent.work())
        assertFalse(agent.isEnrolled)
        assertTrue(agent.work() in 54_000..66_000)
        assertTrue(agent.isEnrolled)
        assertEquals(listOf("enroll", "enroll", "heartbeat"), paths())
    }

    @Test
    fun `heartbeats keep the server's interval, ten per cent earlier or later, and its wish to be left alone`() {
        val agent = agent()
        repeat(20) {
            val pause = agent.work()
            assertTrue(pause in 54_000..66_000, "$pause")
            pass(pause)
        }
        for (busy in listOf(429, 503)) {
            answers["/heartbeat"] = { Reply(busy, ByteArray(0), mapOf("Retry-After" to "1234")) }
            assertEquals(1_234_000, agent.work())
            pass(1_234_000)
        }
    }

    @Test
    fun `a server that is not there is asked less and less often`() {
        val agent = agent().apply { work() }
        answers.remove("/heartbeat")
        pass(70_000)
        val pauses = List(12) { agent.work().also(::pass) }
        assertTrue(pauses.first() in 1_000..2_000)
        assertTrue(pauses.all { it <= 300_000 } && pauses.last() >= 150_000, "$pauses")
    }

    @Test
    fun `a device that is turned away keeps asking, but seldom`() {
        val agent = agent().apply { work() }
        answers["/heartbeat"] = { Reply(401, "{}") }
        pass(70_000)
        assertEquals(900_000, agent.work())
        assertTrue(agent.isEnrolled && agent.isTurnedAway)
        answers["/heartbeat"] = { beat() }
        pass(900_000)
        agent.work()
        assertFalse(agent.isTurnedAway)
    }

    private fun turnedAway(answer: Reply): Agent {
        val agent = agent().apply { work() }
        answers["/heartbeat"] = { answer }
        pass(70_000)
        agent.work()
        asked.clear()
        return agent
    }

    private val retired = """{"title": "Forbidden", "detail": "The device is retired."}"""

    @Test
    fun `who was turned away is taken back at once with a new enrolment token`() {
        for (answer in listOf(Reply(401, "{}"), Reply(403, retired))) {
            val agent = turnedAway(answer)
            assertTrue(agent.mayEnrolAt("https://one.test"))
            answers["/enroll"] = { enrolled("t2") }
            answers["/heartbeat"] = { beat() }
            agent.enrolAgain("nxe_2")
            agent.work()
            assertEquals(listOf<String?>("t1", "t2"), tokens())
            assertTrue(""""packages":[""" in String(asked.last().body ?: ByteArray(0)), "all is told anew")
            assertEquals(listOf("enroll", "heartbeat"), paths())
            assertEquals(Membership.MEMBER to null, agent.membership to agent.enrollmentToken)
            assertEquals("t2", saved())
            account.bytes = ByteArray(0)
            answers["/enroll"] = { enrolled("t1") }
        }
    }

    private fun saved(): String? = SAVED_TOKEN.find(String(account.bytes))?.groupValues?.get(1)

    @Test
    fun `nobody else can have a device that belongs to a server, whether that turned it away or not`() {
        val agent = agent().apply { work() }
        assertFalse(agent.mayEnrolAt("https://one.test"))
        val away = turnedAway(Reply(401, "{}"))
        assertEquals(listOf(true, false), listOf("https://one.test", "https://two.test").map(away::mayEnrolAt))
        assertTrue(agent("https://three.test", token = null).mayEnrolAt("https://four.test"))
    }

    @Test
    fun `a new token that is refused leaves everything as it was, and says why`() {
        val agent = turnedAway(Reply(401, "{}"))
        answers["/enroll"] = { Reply(401, """{"detail": "This token is spent."}""") }
        agent.enrolAgain("nxe_2")
        assertEquals(Membership.JOINING, agent.membership)
        agent.work()
        assertEquals(Membership.REFUSED to "This token is spent.", agent.membership to agent.refused?.why)
        assertEquals("t1" to null, saved() to agent.enrollmentToken)
        agent.work()
        assertEquals(listOf("enroll", "heartbeat"), paths(), "and then seldom, as before")
        agent.enrolAgain("nxe_3")
        assertEquals(Membership.JOINING to null, agent.membership to agent.refused)
    }

    @Test
    fun `a process that ends before it was taken back tries again`() {
        turnedAway(Reply(401, "{}")).enrolAgain("nxe_2")
        val next = agent(token = "nxe_2")
        answers["/enroll"] = { enrolled("t2") }
        next.work()
        answers["/heartbeat"] = { beat() }
        next.work()
        assertEquals(listOf("heartbeat", "enroll", "heartbeat"), paths())
        assertEquals("t2", saved())
    }

    @Test
    fun `an enrolment token that is not needed is forgotten`() {
        agent().work()
        asked.clear()
        val restarted = agent().apply { work() }
        assertEquals(listOf("heartbeat") to null, paths() to restarted.enrollmentToken)
    }

    @Test
    fun `where a device stands with its server has one name`() {
        assertEquals(Membership.NONE, agent(token = null).membership)
        assertEquals(Membership.JOINING, agent().membership)
        assertEquals(Membership.MEMBER, agent().apply { work() }.membership)
        assertEquals(Membership.TURNED_AWAY, turnedAway(Reply(401, "{}")).membership)
        account.bytes = ByteArray(0)
        answers["/enroll"] = { Reply(401, retired) }
        assertEquals(Membership.REFUSED, agent().apply { work() }.membership)
    }

    @Test
    fun `packages are told when they change, and again until they were heard`() {
        fun said() = asked.map { String(it.body ?: ByteArray(0)) }.single { "heartbeat" in asked.last().url }

        fun beats(agent: Agent): Boolean {
            asked.clear()
            pass(4_000_000)
            agent.work()
            return "\"packages\"" in said()
        }
        val agent = agent().apply { work() }
        assertFalse(beats(agent))
        device.install("com.shop.till", 5)
        answers["/heartbeat"] = { Reply(500, "") }
        assertTrue(beats(agent))
        answers["/heartbeat"] = { beat() }
        assertTrue(beats(agent))
        assertFalse(beats(agent))
        answers["/heartbeat"] = { Reply(503, ByteArray(0), mapOf("Retry-After" to "60")) }
        assertFalse(beats(agent))
        answers["/heartbeat"] = { throw ConnectException("it is restored from a backup") }
        assertFalse(beats(agent))
        answers["/heartbeat"] = { beat() }
        assertTrue(beats(agent), "who was away may have forgotten")
        assertEquals(listOf(6), (1..7).filter { beats(agent) }, "every six hours")
    }

    private val month = 31L * 24 * 3600 * 1000

    @Test
    fun `a token is changed after a month, and the old one is kept until the new one was taken`() {
        val agent = agent().apply { work() }
        answers["/token"] = { Reply(200, """{"device_token": "t2"}""") }
        pass(month)
        asked.clear()
        agent.work()
        assertEquals(listOf<String?>("t1", "t2"), tokens())
        assertFalse("t1" in String(account.bytes))
        assertEquals(listOf("token", "heartbeat"), paths())
    }

    @Test
    fun `a new token that cannot be written down is not used`() {
        val agent = agent().apply { work() }
        answers["/token"] = { Reply(200, """{"device_token": "t2"}""") }
        account.fullAt = account.writes + 1
        pass(month)
        asked.clear()
        agent.work()
        assertEquals(listOf<String?>("t1", "t1"), tokens())
    }

    @Test
    fun `a new token that the server does not know costs nothing`() {
        agent().work()
        answers["/token"] = { Reply(200, """{"device_token": "t2"}""") }
        answers["/heartbeat"] = { if (tokens().last() == "t2") Reply(401, "{}") else beat() }
        pass(month)
        asked.clear()
        agent().work()
        assertEquals(listOf<String?>("t1", "t2", "t1"), tokens())
        assertTrue("t1" in String(account.bytes) && "t2" !in String(account.bytes))
    }

    @Test
    fun `a token is shown to no other server than the one that gave it`() {
        agent().work()
        asked.clear()
        answers["/enroll"] = { enrolled("t9") }
        val moved = agent("https://two.test", token = "nxe_2")
        assertNull(moved.deviceId)
        moved.work()
        assertEquals(listOf(null, "t9"), tokens())
    }

    @Test
    fun `an account of the first release is still one`() {
        val kept = """{"deviceId":"7","tokens":["t1"],"intervalSec":60,"tokenSinceMs":1700000000000}"""
        account.bytes = kept.toByteArray()
        val agent = agent(token = null)
        assertTrue(agent.isEnrolled)
        assertEquals("7", agent.deviceId)
    }

    @Test
    fun `a push that is not understood brings the next heartbeat forward, but not against a server that is down`() {
        val agent = agent().apply { work() }
        agent.pushed(mapOf("apk" to "{"))
        paths()
        agent.work()
        assertEquals(listOf("heartbeat"), paths())
        answers.remove("/heartbeat")
        pass(70_000)
        agent.work()
        paths()
        agent.pushed(mapOf("apk" to "{"))
        agent.work()
        assertEquals(emptyList(), paths())
    }

    private companion object {
        val SAVED_TOKEN = Regex(""""tokens":\["(.*?)"]""")
    }
}
