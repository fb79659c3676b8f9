package com.nexmdm.agent.harness

import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.store.Journal
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.time.Instant
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Whole agents in virtual time, with the network, the disk, the clock and the server's word failing at every place. */
class FaultTest {
    private fun everyPath(check: (Path) -> Unit): List<DynamicTest> =
        Paths.all.map { DynamicTest.dynamicTest(it.name) { check(it) } }

    @TestFactory
    fun `each request lost, and each answer`(): List<DynamicTest> =
        everyPath { path ->
            for (lost in 1..path.world().run().server.requests) {
                path.verify(path.world().apply { server.losesRequest = lost }.run(), "request $lost lost")
                path.verify(path.world().apply { server.losesAnswer = lost }.run(), "answer $lost lost")
            }
        }

    @TestFactory
    fun `no room for a line of the journal, once and for a while`(): List<DynamicTest> =
        everyPath { path ->
            for (write in 1..path.world().run().journal.writes) {
                for (long in listOf(1, 5)) {
                    val world = path.world()
                    world.journal.fullAt = write
                    world.journal.fullFor = long
                    path.verify(world.run(), "write $write failed $long times")
                }
            }
            val unenrolled = path.world().apply { account.fullAt = 1 }.run()
            path.verify(unenrolled, "no room for the account")
            assertEquals(2, unenrolled.server.asked.count { it.endsWith("/enroll") })
        }

    /** What the journal no longer tells is asked of the device and of the server, which loses patience in the end. */
    @TestFactory
    fun `a journal cut anywhere`(): List<DynamicTest> =
        everyPath { path ->
            for (point in 1..path.world().run().fuse.count step 7) {
                for (part in 0..4) {
                    val world = killed(path, point)
                    if (world.server.isSettled) continue
                    goesOnFrom(world, world.journal.bytes.size * part / 4)
                    path.verify(world, "killed at $point, $part quarters of the journal kept")
                }
            }
        }

    /**
     * Killed just before the install and just after it, when the journal is longest and matters most. Bytes that read
     * as the same state are the same to everything that follows, so the way on is gone once from the shortest and once
     * from the longest cut of each.
     */
    @TestFactory
    fun `a journal cut at every byte`(): List<DynamicTest> =
        Paths.all.filter { it.name in LONGEST }.map { path ->
            DynamicTest.dynamicTest(path.name) {
                val commit = path.world().run().device.touchesAtCommit
                for (killAt in listOf(commit, commit + 1)) {
                    val whole = killed(path, killAt).journal.bytes
                    val states = (0..whole.size).groupBy { Journal(MemoryFile(bytes = whole.copyOf(it))).load() }
                    assertTrue(states.size > 8, "hardly anything was written")
                    for (length in states.values.flatMap { listOf(it.first(), it.last()) }) {
                        path.verify(goesOnFrom(killed(path, killAt), length), "killed at $killAt, $length bytes kept")
                    }
                }
            }
        }

    private fun killed(path: Path, killAt: Int): World {
        val world = path.world()
        world.fuse.killAt = killAt
        while (world.deaths == 0 && !world.isAtRest()) world.run(steps = 1)
        return world
    }

    private fun goesOnFrom(world: World, bytesKept: Int): World {
        world.journal.bytes = world.journal.bytes.copyOf(bytesKept)
        world.die()
        repeat(3) {
            world.run(steps = 300)
            world.server.timeOut()
        }
        return world.run()
    }

    private val large = ApkFactory.apk("com.shop.till", 121, filler = 1_000_000)

    private fun update(apk: ByteArray = Paths.apk): World =
        World().apply {
            device.install("com.shop.till", 120)
            order(FakeServer.Order(apk))
        }

    @Test
    fun `a network that breaks every 64 KiB costs nothing but time`() {
        val world = update(large).apply { server.cutsAfter = 64 * 1024 }.run()
        assertEquals(emptyList(), world.wrongs())
        assertEquals("succeeded" to 1, world.server.status to world.server.attempt)
        assertEquals(1 + large.size / (64 * 1024), world.server.asked.count { "/artifacts/" in it })
    }

    @Test
    fun `a network that never carries a byte is a failure of its own name`() {
        val world = update(large).apply { server.cutsAfter = 0 }.run()
        assertEquals(emptyList(), world.wrongs())
        assertEquals("failed", world.server.status)
        assertEquals(setOf("download_network"), world.server.applied.mapNotNull { it.code }.toSet())
    }

    @Test
    fun `no room for the APK, wherever it ends`() {
        for (room in 0 until large.size step 64 * 1024) {
            val world = update(large).apply { device.room = room }.run()
            assertEquals(emptyList(), world.wrongs())
            assertEquals("insufficient_storage", world.server.applied.last().code)
            Paths.isUntouched(world)
        }
    }

    @TestFactory
    fun `a clock that is wrong by years`(): List<DynamicTest> =
        everyPath { path ->
            for (year in listOf("1970", "2001", "2099")) {
                val world = path.world(Instant.parse("$year-01-01T00:00:00Z")).run()
                path.verify(world, "in $year")
                val wrong = world.server.occurredAt.filterNot { "$it".startsWith("2026-11-24T1") }
                assertEquals(emptyList(), wrong, "times by the device's clock")
            }
        }

    @Test
    fun `a window is judged by the server's time where the server says no more`() {
        fun end(fromDay: String, untilDay: String): Pair<String, List<String>> {
            val window = """{"start_iso": "${fromDay}T00:00:00Z", "end_iso": "${untilDay}T00:00:00Z"}"""
            val world = World(wall = Instant.parse("2031-01-01T00:00:00Z"))
            world.server.windowOpen = null
            world.order(FakeServer.Order(Paths.apk, window = window))
            world.run()
            return world.server.status to world.server.conditions
        }
        assertEquals("succeeded" to emptyList(), end("2026-11-24", "2026-11-25"))
        assertEquals("device_condition" to listOf("outside_window"), end("2030-12-31", "2031-01-02"))
    }

    private val lost: Map<String, (DeviceSnapshot) -> DeviceSnapshot> =
        mapOf(
            "no_wifi" to { it.copy(network = Network.CELLULAR) },
            "metered_network" to { it.copy(metered = true) },
            "battery_low" to { it.copy(battery = 39) },
            "low_storage" to { it.copy(freeStorageMb = 3) },
            "in_call" to { it.copy(inCall = true) },
            "in_use" to { it.copy(inUse = true) },
        )

    @TestFactory
    fun `a condition lost at any look stops it before the install`(): List<DynamicTest> =
        lost.map { (reason, change) ->
            DynamicTest.dynamicTest(reason) {
                val last = update(large).run().device.snapshotsAtCommit
                assertTrue(last > 5, "hardly looked at")
                for (look in 0..last) {
                    val world = update(large)
                    world.device.onSnapshot = { if (it == look) world.device.change(change) }
                    if (look == 0) world.device.change(change)
                    world.run()
                    assertEquals(emptyList(), world.wrongs(), "lost after look $look")
                    val stopped = look < last
                    assertEquals(if (stopped) "device_condition" else "succeeded", world.server.status, "look $look")
                    assertEquals(if (stopped) listOf(reason) else emptyList(), world.server.conditions)
                    assertEquals(if (stopped) 0 else 1, world.device.commits)
                }
            }
        }

    private fun FakeDevice.change(change: (DeviceSnapshot) -> DeviceSnapshot) {
        snapshot = change(snapshot)
    }

    @Test
    fun `no condition stops a reinstall once the package is off the device`() {
        for (change in lost.values) {
            val world = World()
            world.device.install("com.shop.till", 130)
            world.order(FakeServer.Order(Paths.apk, mode = "reinstall"))
            world.device.verdict = {
                world.device.change(change)
                world.device.verdict = { InstallVerdict.Done }
                InstallVerdict.Failed(FailureCode.INSTALL_INTERNAL, "not now")
            }
            world.run()
            assertEquals(emptyList(), world.wrongs())
            assertEquals("succeeded" to 2, world.server.status to world.server.attempt)
            assertTrue(world.server.applied.any { it.code == "reinstall_incomplete" })
            Paths.isUpdated(world)
        }
    }

    /** What the server changes with its n-th request counts if a question comes after it, and never once installed. */
    private fun changedAtAnyRequest(change: (FakeServer) -> Unit, end: String) {
        val whole = update(large).run().server.asked
        val lastQuestion = whole.indexOfLast { "attempt=" in it } + 1
        for (changedAt in whole.indexOfFirst { "attempt=" in it } + 1..whole.size) {
            val world = update(large)
            world.server.onRequest = { if (world.server.requests == changedAt) change(world.server) }
            world.run()
            assertEquals(emptyList(), world.wrongs(), "changed at $changedAt")
            val stopped = changedAt <= lastQuestion
            assertEquals(if (stopped) end else "succeeded", world.server.status, "changed at $changedAt")
            assertEquals(if (stopped) 0 else 1, world.device.commits, "changed at $changedAt")
        }
    }

    @Test
    fun `a cancel at any request stops it, up to the last question before the install`(): Unit =
        changedAtAnyRequest({ it.gone = "canceled" }, "skipped")

    @Test
    fun `a window that closes at any request stops it, up to the last question before the install`(): Unit =
        changedAtAnyRequest({ it.windowOpen = false }, "device_condition")

    private val order =
        mapOf("action" to "deploy_apk", "schema" to "1", "deployment_id" to "42", "device_id" to "7", "attempt" to "1")
    private val evil =
        """{"package": "com.shop.till", "version_code": 999, "url": "https://evil.test/x.apk", "size_bytes": 10,
            "sha256": "${"e".repeat(64)}", "signer_sha256": ["${"e".repeat(64)}"]}"""

    @TestFactory
    fun `at any moment a push that is`(): List<DynamicTest> =
        mapOf(
            "a duplicate" to order,
            "of an attempt that never was" to order + ("attempt" to "9"),
            "for another device" to order + ("device_id" to "8"),
            "for another device, of another deployment" to order + ("device_id" to "8") + ("deployment_id" to "666"),
            "of an unknown deployment" to order + ("deployment_id" to "666"),
            "of a future schema" to order + ("schema" to "99") + ("apk" to evil),
            "forged" to order + ("apk" to evil),
            "forged, of another deployment" to order + ("deployment_id" to "666") + ("apk" to evil),
            "a call to stop that nobody decided" to order + ("action" to "cancel"),
            "garbage" to mapOf("apk" to "{", "x" to "y"),
        ).map { (name, push) ->
            DynamicTest.dynamicTest(name) {
                for (step in 1..40) {
                    val world = update(large).run(steps = step)
                    world.pushed(push)
                    world.run()
                    assertEquals(emptyList(), world.wrongs(), "at step $step")
                    assertEquals("succeeded" to 1, world.server.status to world.server.attempt, "at step $step")
                    assertEquals(1, world.device.commits, "at step $step")
                    assertTrue(world.server.asked.none { "evil" in it })
                    val isOurs = push["device_id"] != "8"
                    assertTrue(isOurs || world.server.asked.none { "/666/" in it }, "asked about another's")
                }
            }
        }

    @Test
    fun `an older attempt that comes late begins nothing`() {
        val world = update().apply { server.served = { if (it.attempt == 1) ByteArray(it.orderSize()) else Paths.apk } }
        world.run()
        assertEquals("succeeded" to 2, world.server.status to world.server.attempt)
        val asked = world.server.requests
        world.pushed(order)
        repeat(3) { world.run(steps = 1) }
        assertEquals(emptyList(), world.wrongs())
        assertTrue(world.server.asked.drop(asked).none { "/status" in it || "/artifacts/" in it })
    }

    @Test
    fun `a number that a restored server gives to another deployment is no word on this one`() {
        val next = ApkFactory.apk("com.shop.till", 122, filler = 1_000)
        val world = update().run()
        world.server.restored()
        world.order(FakeServer.Order(next, versionCode = 122))
        world.run()
        assertEquals(emptyList(), world.wrongs())
        assertEquals("succeeded" to 1, world.server.status to world.server.attempt)
        assertEquals(122L, world.device.packages["com.shop.till"]?.versionCode)
    }

    private fun FakeServer.orderSize(): Int = order?.apk?.size ?: 0

    @Test
    fun `a command of a future schema is answered, and nothing is touched`() {
        val world = update().apply { server.schema = 2 }.run()
        assertEquals(emptyList(), world.wrongs())
        assertEquals("failed" to "internal", world.server.status to world.server.applied.last().code)
        Paths.isUntouched(world)
    }

    private companion object {
        val LONGEST = setOf("an update with a restart", "a reinstall to an older version")
    }
}
