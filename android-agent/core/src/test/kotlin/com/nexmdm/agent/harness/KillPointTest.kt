package com.nexmdm.agent.harness

import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.policy.InstallVerdict
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Every path, with the process ending before and after every single touch of the outside world. */
class KillPointTest {
    private class Path(
        val name: String,
        val ends: Set<String>,
        val agentPackage: String = "com.nexmdm",
        val check: (World) -> Unit = {},
        val lay: (World) -> Unit,
    )

    private val apk = ApkFactory.apk("com.shop.till", 121, filler = 130_000)
    private val damaged = apk.clone().also { it[500] = (it[500] + 1).toByte() }

    private val paths =
        listOf(
            Path("a fresh install", setOf("succeeded")) { it.order(FakeServer.Order(apk)) },
            Path("an update", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
            },
            Path("an update whose broadcasts are lost", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.device.losesBroadcasts = true
                it.order(FakeServer.Order(apk))
            },
            Path("an update with a restart", setOf("succeeded"), check = ::isRestarted) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk, intent = "com.shop.RESTART"))
            },
            Path("the agent's own update", setOf("succeeded"), check = ::isUpdated, agentPackage = "com.shop.till") {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
            },
            Path("a reinstall to an older version", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 130)
                it.order(FakeServer.Order(apk, mode = "reinstall"))
            },
            Path("a cancel during the download", setOf("skipped"), check = ::isUntouched) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                it.server.onRequest = { url -> if ("/artifacts/" in url) it.server.gone = "canceled" }
            },
            Path("damaged bytes, then good ones", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                it.server.served = { server -> if (server.attempt == 1) damaged else apk }
            },
            Path("a refused install", setOf("failed"), check = ::isUntouched) {
                it.device.install("com.shop.till", 120)
                it.device.verdict = { InstallVerdict.Failed(FailureCode.VERIFIER_BLOCKED, "Play Protect") }
                it.order(FakeServer.Order(apk))
            },
            Path("another signer", setOf("failed"), check = ::isUntouched) {
                it.device.install("com.shop.till", 120, ApkFactory.signerB)
                it.order(FakeServer.Order(apk))
            },
            // The question itself can be lost with the process that heard it: then nobody was asked, and that is said.
            Path("a person who says yes", setOf("succeeded", "failed")) {
                it.device.install("com.shop.till", 120)
                it.device.verdict = { InstallVerdict.AskPerson }
                it.order(FakeServer.Order(apk))
            },
            Path("a call that comes in before the commit", setOf("device_condition"), check = ::isUntouched) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                var asked = 0
                it.server.onRequest = { url ->
                    if ("attempt=" in url && ++asked == 2) it.device.snapshot = it.device.snapshot.copy(inCall = true)
                }
            },
        )

    private fun isUpdated(world: World) = assertEquals(121, world.device.packages["com.shop.till"]?.versionCode)

    private fun isUntouched(world: World) = assertEquals(120, world.device.packages["com.shop.till"]?.versionCode)

    private fun isRestarted(world: World) {
        isUpdated(world)
        assertTrue(world.device.launched.isNotEmpty())
        assertEquals("ok", world.server.lastPostInstall)
    }

    @TestFactory
    fun `one truthful end from every kill point of`(): List<DynamicTest> =
        paths.map { path ->
            DynamicTest.dynamicTest(path.name) {
                val unharmed = world(path).run()
                verify(path, unharmed, "unharmed")
                assertTrue(unharmed.fuse.count > 20, "hardly anything was touched")
                for (point in 1..unharmed.fuse.count) {
                    val world = world(path)
                    world.fuse.killAt = point
                    verify(path, world.run(), "killed at $point")
                }
            }
        }

    @TestFactory
    fun `a second death soon after the first changes nothing for`(): List<DynamicTest> =
        paths.map { path ->
            DynamicTest.dynamicTest(path.name) {
                val points = world(path).run().fuse.count
                for (point in 1..points step 6) {
                    for (later in listOf(1, 4, 9)) {
                        val world = world(path)
                        world.fuse.killAt = point
                        while (world.deaths == 0 && !world.isAtRest()) world.run(steps = 1)
                        world.fuse.killAt = point + later
                        verify(path, world.run(), "killed at $point and $later later")
                    }
                }
            }
        }

    private fun world(path: Path): World = World(path.agentPackage).also(path.lay)

    private fun verify(path: Path, world: World, how: String) {
        assertEquals(emptyList(), world.wrongs(), "${path.name}, $how")
        assertTrue(
            world.server.status in path.ends,
            "${path.name}, $how: ${world.server.status} ${world.server.applied}",
        )
        path.check(world)
    }
}
