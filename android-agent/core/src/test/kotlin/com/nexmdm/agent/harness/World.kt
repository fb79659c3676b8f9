package com.nexmdm.agent.harness

import com.nexmdm.agent.engine.Agent
import com.nexmdm.agent.engine.AgentSettings
import com.nexmdm.agent.engine.Ports
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.net.DownloadLimits
import com.nexmdm.agent.store.Journal
import java.time.Instant
import kotlin.random.Random

/** A device, its disk and a server in virtual time. Only the process dies; the rest goes on. */
class World(
    private val agentPackage: String = "com.nexmdm",
    wall: Instant = Instant.parse("2031-05-01T10:00:00Z"),
) {
    val fuse = Fuse()
    val clock = FakeClock(wall)
    val device = FakeDevice(fuse, clock)
    val server = FakeServer(fuse)
    val journal = MemoryFile(fuse)
    val account = MemoryFile(fuse)
    var deaths = 0
        private set
    private var agent = born()
    private var hasWorked = false

    fun order(order: FakeServer.Order) {
        server.order = order
        device.allowed += order.sha256
    }

    private fun born(): Agent =
        Agent(
            AgentSettings(
                server = FakeServer.BASE,
                device = DeviceIdentity(
                    "S1",
                    "Joy 2",
                    sdkInt = 34,
                    agentPackage = agentPackage,
                    agentVersion = version(),
                ),
                journal = journal,
                account = account,
                limits = DownloadLimits(syncBytes = 64 * 1024, syncRestMs = 0),
            ),
            Ports(device.sessions, device.packagePort, device.device, clock),
            server,
            Random(deaths),
        ).apply { enrollmentToken = "e" }

    private fun version(): String = device.packages[agentPackage]?.versionName ?: "1"

    /** Runs until the server has its final word and the agent has nothing left to say, or [steps] are over. */
    fun run(steps: Int = 2_000): World {
        repeat(steps) {
            if (isAtRest()) return this
            step()
        }
        return this
    }

    fun isAtRest(): Boolean = hasWorked && server.isSettled && isIdle() && device.open.isEmpty()

    private fun isIdle(): Boolean = agent.state.job == null && agent.state.outbox.isEmpty()

    private fun step() {
        try {
            val pause = agent.work().coerceIn(1, 5_000)
            hasWorked = true
            clock.elapsed += pause
            val replaced = device.settle()
            if (agentPackage in replaced) throw Killed()
            device.word()?.let { (session, verdict) -> agent.said(session, verdict) }
        } catch (_: Killed) {
            die()
        }
    }

    /** The process ends here, whatever it was about. */
    fun die() {
        deaths++
        device.processDied()
        clock.elapsed += 700
        agent = born()
        hasWorked = false
    }

    fun pushed(data: Map<String, String>) = agent.pushed(data)

    /** What must hold however it went. */
    fun wrongs(): List<String> =
        device.violations +
            listOfNotNull(
                "not at rest: ${server.status}, ${agent.state.job}, ${agent.state.outbox}".takeUnless { isAtRest() },
                "leaked ${device.open.keys}".takeIf { device.open.isNotEmpty() },
                "the journal reads differently".takeIf { Journal(journal).load() != agent.state },
                "applied twice: ${server.applied}".takeIf { hasRepeats() },
            ) + untruths()

    /** No outcome is reported twice within an attempt; only progress may be. */
    private fun hasRepeats(): Boolean {
        val steps = server.applied.filterNot { it.status == "downloading" || it.status == "installing" }
        return steps.distinct().size != steps.size
    }

    private fun untruths(): List<String> {
        val order = server.order ?: return emptyList()
        val there = device.packages[order.packageName]?.versionCode == order.versionCode.toLong()
        return listOfNotNull(
            "said succeeded, is not there".takeIf { server.status == "succeeded" && !there },
            "is there, said ${server.status}".takeIf { server.status == "failed" && there },
        )
    }
}
