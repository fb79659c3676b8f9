package com.nexmdm.agent.sim

import com.nexmdm.agent.engine.Agent
import com.nexmdm.agent.engine.AgentSettings
import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.engine.Ports
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.net.UrlConnectionTransport
import com.nexmdm.agent.store.DiskFile
import java.nio.file.Files
import java.time.Duration
import java.time.Instant
import java.util.concurrent.Future
import java.util.concurrent.ScheduledExecutorService
import java.util.concurrent.TimeUnit

/** One device: a folder, an agent, and the threads that it borrows. */
internal class SimAgent(
    private val index: Int,
    private val serial: String,
    private val options: Options,
    private val threads: ScheduledExecutorService,
    private val lines: Lines,
) {
    private val folder = Files.createDirectories(options.state.resolve("%05d".format(index)))
    private val faults = options.faultsOf(index)
    private val clock =
        FastClock(Duration.ofDays(faults.detail(FaultKind.CLOCK)?.toLong() ?: 0), options.speed)
    private val device = SimDevice(folder, options, faults, ::installLater)
    private var agent = born()
    private var next: Future<*>? = null
    private var wasRefused = false

    fun start(): Unit = wake(0)

    private fun born(): Agent {
        val settings =
            AgentSettings(
                server = options.server,
                device =
                    DeviceIdentity(
                        serial = serial,
                        model = "Kotlin Sim",
                        manufacturer = "NexMDM",
                        sdkInt = SDK,
                        abis = listOf("arm64-v8a"),
                        agentPackage = AGENT_PACKAGE,
                        agentVersion = device.packages.installed(AGENT_PACKAGE)?.versionName ?: "1.0.0",
                    ),
                journal = DiskFile(folder.resolve("journal")),
                account = DiskFile(folder.resolve("account.json")),
            )
        val ports = Ports(device.sessions, device.packages, device, clock)
        val transport = FaultyTransport(UrlConnectionTransport(), faults)
        return Agent(settings, ports, transport, listener = ::changed).apply {
            enrollmentToken = options.enrollmentToken
        }
    }

    private fun wake(inMs: Long) {
        synchronized(threads) {
            next?.cancel(false)
            next = threads.schedule(::turn, inMs, TimeUnit.MILLISECONDS)
        }
    }

    @Synchronized
    private fun turn() {
        wake((agent.work() / options.speed).coerceIn(MIN_PAUSE_MS, MAX_PAUSE_MS))
        val refused = agent.refused
        if (!wasRefused && refused != null) say("refused", "http_status" to refused.httpStatus, "error" to refused.why)
        wasRefused = refused != null
    }

    /** The platform installs by itself; the agent hears of it, unless it was the agent that was replaced. */
    private fun installLater(session: Int) {
        threads.schedule({ installed(session) }, options.installMs, TimeUnit.MILLISECONDS)
    }

    @Synchronized
    private fun installed(session: Int) {
        val result = device.sessions.finish(session) ?: return
        if (result.replaced != null) {
            say("installed", "package" to result.replaced, "version_code" to result.versionCode)
        }
        if (result.replaced == AGENT_PACKAGE) agent = born() else agent.said(session, result.verdict)
        wake(0)
    }

    private fun changed(old: State, new: State) {
        val known = old.outbox.mapTo(HashSet()) { it.id }
        for (report in new.outbox.filterNot { it.id in known }) {
            say(
                report.status.name.lowercase(),
                "deployment_id" to report.key.deployment.text,
                "attempt" to report.key.attempt,
                "progress" to report.progress,
                "version_code" to report.installed?.versionCode,
                "error_code" to report.errorCode,
                "error" to report.error,
                "post_install" to report.postInstall,
            )
        }
        val isDelivered = new.outbox.size < old.outbox.size
        if (isDelivered && FaultKind.CRASH in faults) threads.execute(::reborn)
    }

    /** A crash and the process after it: the next turn begins with what is on the disk. */
    @Synchronized
    private fun reborn() {
        agent = born()
        wake(0)
    }

    private fun say(state: String, vararg more: Pair<String, Any?>) {
        lines.say("at" to Instant.now(), "device" to index, "device_id" to agent.deviceId, "state" to state, *more)
    }

    private class FastClock(private val wrongBy: Duration, private val speed: Long) : Clock {
        override fun now(): Instant = Instant.now().plus(wrongBy)

        override fun elapsedMs(): Long = System.nanoTime() / 1_000_000 * speed
    }

    companion object {
        const val AGENT_PACKAGE = "com.nexmdm"
        const val SDK = 34
        const val MIN_PAUSE_MS = 5L
        const val MAX_PAUSE_MS = 3_600_000L
    }
}
