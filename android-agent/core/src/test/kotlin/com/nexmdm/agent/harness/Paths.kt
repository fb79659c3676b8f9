package com.nexmdm.agent.harness

import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.policy.InstallVerdict
import java.time.Instant
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** One way that a deployment can take on a device, and the [ends] that are true for it. */
internal class Path(
    val name: String,
    val ends: Set<String>,
    val agentPackage: String = "com.nexmdm",
    val check: (World) -> Unit = {},
    val lay: (World) -> Unit,
) {
    fun world(wall: Instant = Instant.parse("2031-05-01T10:00:00Z")): World = World(agentPackage, wall).also(lay)

    /** One truthful end, nothing left behind, nothing done twice. */
    fun verify(world: World, how: String) {
        assertEquals(emptyList(), world.wrongs(), "$name, $how")
        assertTrue(world.server.status in ends, "$name, $how: ${world.server.status} ${world.server.applied}")
        check(world)
    }
}

internal object Paths {
    val apk = ApkFactory.apk("com.shop.till", 121, filler = 130_000)
    private val damaged = apk.clone().also { it[500] = (it[500] + 1).toByte() }

    val all: List<Path> =
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
            Path("a reinstall whose install fails at first", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 130)
                it.device.verdict = { _ ->
                    it.device.verdict = { InstallVerdict.Done }
                    InstallVerdict.Failed(FailureCode.INSTALL_INTERNAL, "not now")
                }
                it.order(FakeServer.Order(apk, mode = "reinstall"))
            },
            Path("the agent's own update, and no word of it", setOf("succeeded"), "com.shop.till", ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.device.losesBroadcasts = true
                it.order(FakeServer.Order(apk))
            },
            Path("a network that breaks again and again", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.server.cutsAfter = 40_000
                it.order(FakeServer.Order(apk))
            },
            Path("addresses that have expired", setOf("succeeded"), check = ::isUpdated) {
                it.device.install("com.shop.till", 120)
                it.server.expired = 2
                it.order(FakeServer.Order(apk))
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
            Path("an update that the restored server does not know of", setOf("succeeded"), check = ::isDoneOnce) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk, intent = "com.shop.RESTART"))
                it.server.onSettled = it.server.once { restored() }
            },
            Path("a second attempt, and a server of before the first", setOf("succeeded"), check = ::isDoneOnce) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                it.server.served = { server -> if (server.attempt == 1 && !server.isRestored) damaged else apk }
                it.server.onSettled = it.server.once { restored() }
            },
            Path("a server restored in the middle", setOf("succeeded"), check = ::isDoneOnce) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                val restored = it.server.once { restored() }
                it.server.onRequest = { url -> if ("/artifacts/" in url) restored() }
            },
            Path("a deployment that is begun again after a restore", setOf("succeeded"), check = ::isDoneOnce) {
                it.device.install("com.shop.till", 120)
                it.order(FakeServer.Order(apk))
                val restored = it.server.once { restored(unknownFor = 2) }
                it.server.onRequest = { url -> if ("/artifacts/" in url) restored() }
            },
            Path("a refused install, and a server restored to before it", setOf("failed"), check = ::isUntouched) {
                it.device.install("com.shop.till", 120)
                it.device.verdict = { InstallVerdict.Failed(FailureCode.VERIFIER_BLOCKED, "Play Protect") }
                it.order(FakeServer.Order(apk))
                it.server.onSettled = it.server.once { restored() }
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

    fun isUpdated(world: World) = assertEquals(121, world.device.packages["com.shop.till"]?.versionCode)

    /** By the number of its attempts, too: nobody had to lose patience. */
    fun isDoneOnce(world: World) {
        assertTrue(world.server.isRestored)
        assertEquals(121L to 1, world.device.packages["com.shop.till"]?.versionCode to world.device.installed)
    }

    private fun FakeServer.once(act: FakeServer.() -> Unit): () -> Unit = {
        if (!isRestored) act()
    }

    fun isUntouched(world: World) = assertEquals(120, world.device.packages["com.shop.till"]?.versionCode)

    fun isRestarted(world: World) {
        isUpdated(world)
        assertTrue(world.device.launched.isNotEmpty())
        assertEquals("ok", world.server.lastPostInstall)
    }
}
