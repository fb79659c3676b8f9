package com.nexmdm.agent.engine

import com.nexmdm.agent.apk.ApkInspector
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.net.Downloader
import com.nexmdm.agent.net.Fetched
import com.nexmdm.agent.net.ServerApi
import com.nexmdm.agent.proto.Confirmation
import com.nexmdm.agent.store.Journal
import java.io.IOException
import kotlin.random.Random

/** All that the engine touches. */
public class Ports(
    public val sessions: SessionPort,
    public val packages: PackagePort,
    public val device: DevicePort,
    public val clock: Clock,
)

/** Told of every change after it is on disk. */
public fun interface StateListener {
    public fun changed(old: State, new: State)
}

/**
 * Runs what the reducer decides: first the journal, then the effect. [post] may be called by any thread, [work] by one
 * at a time. What a crash cuts short is found again from the journal and from the device.
 */
public class Coordinator(
    private val reducer: Reducer,
    private val journal: Journal,
    private val ports: Ports,
    private val api: ServerApi,
    private val downloader: Downloader,
    private val time: ServerTime,
    private val sdkInt: Int,
    private val random: Random,
    private val listener: StateListener,
) {
    private val courier = Courier(api, ports.clock, random)
    private var notBeforeMs = 0L
    private var toldAtMs = 0L
    private var loaded = false

    @Volatile
    public var state: State = State()
        private set

    /** Milliseconds until there is something to do again, null if only an event can bring it. */
    public fun work(pulse: () -> Unit): Long? {
        if (!loaded && !load()) return RELOAD_MS
        while (loaded) {
            courier.deliver(state, ::post)
            val job = state.job ?: return courier.pauseMs(state)
            val pause = notBeforeMs - ports.clock.elapsedMs()
            if (pause > 0) return minOf(pause, courier.pauseMs(state) ?: pause)
            val effect = job.due() ?: return courier.pauseMs(state)
            post(run(effect, pulse))
        }
        return RELOAD_MS
    }

    /** Decides, writes, lets go of what is no longer needed. If it cannot be written, nothing has happened. */
    @Synchronized
    public fun post(event: Event) {
        if (!loaded) return
        val step = reducer.reduce(state, event, time.now())
        try {
            journal.record(state, step.state)
        } catch (_: IOException) {
            loaded = false
            return
        }
        val old = state
        state = step.state
        if (old.job?.phase != step.state.job?.phase) pauseFor(step.state.job?.phase, event)
        step.abandon.forEach(ports.sessions::abandon)
        if (old != step.state) listener.changed(old, step.state)
    }

    /** Reads the journal if that has not been done, so that an event can be posted before any work. */
    @Synchronized
    public fun load(): Boolean {
        if (loaded) return true
        try {
            state = journal.load()
        } catch (_: IOException) {
            return false
        }
        loaded = true
        post(Event.Started(ports.sessions.mine()))
        return loaded
    }

    private fun pauseFor(phase: Phase?, event: Event) {
        val asked =
            ((event as? Event.Confirmed)?.answer as? Confirmation.Unreachable)?.retryAfterMs
                ?: ((event as? Event.FetchEnded)?.result as? Fetched.Cut)?.retryAfterMs
        notBeforeMs = ports.clock.elapsedMs() + (phase?.pauseMs(random, asked) ?: 0)
    }

    private fun run(effect: Effect, pulse: () -> Unit): Event =
        try {
            when (effect) {
                is Effect.Confirm -> Event.Confirmed(effect.key, api.confirm(effect.key).also(::learnTime))
                is Effect.Probe -> Event.Probed(ports.device.snapshot(), ports.packages.installed(effect.packageName))
                is Effect.OpenSession -> Event.Opened(ports.sessions.create(effect.packageName, effect.sizeBytes))
                is Effect.Fetch -> Event.FetchEnded(effect.order.session, fetch(effect, pulse))
                is Effect.Inspect -> inspect(effect)
                is Effect.Uninstall -> {
                    ports.packages.uninstall(effect.packageName)
                    Event.Uninstalled(effect.session)
                }
                is Effect.Commit -> {
                    ports.sessions.commit(effect.session)
                    Event.Committed(effect.session)
                }
                is Effect.Prompt -> Event.Prompted(effect.session, ports.device.prompt(effect.session))
                is Effect.Look -> look(effect)
                is Effect.Launch -> Event.Launched(ports.device.launch(effect.packageName, effect.intent))
                is Effect.Abandon -> error("abandoned when the step is taken")
            }
        } catch (e: PortFailure) {
            Event.CouldNot(e.code, e.message.orEmpty())
        } catch (e: IOException) {
            Event.CouldNot(FailureCode.INTERNAL, e.message ?: e.javaClass.simpleName)
        }

    private fun learnTime(answer: Confirmation) {
        if (answer is Confirmation.Stands) answer.serverTime?.let(time::learn)
    }

    private fun inspect(effect: Effect.Inspect): Event {
        val found = ports.sessions.read(effect.session).use { ApkInspector.inspect(it, sdkInt) }
        return Event.Inspected(effect.session, found, ports.packages.installed(effect.packageName))
    }

    private fun look(effect: Effect.Look): Event {
        val session = ports.sessions.mine()[effect.session] ?: SessionState.GONE
        return Event.Looked(effect.session, session, ports.packages.installed(effect.packageName))
    }

    /** At every sync: write down how far it is, tell the server now and then, see whether the device is still fit. */
    private fun fetch(effect: Effect.Fetch, pulse: () -> Unit): Fetched =
        downloader.fetch(effect.order) { offset, etag ->
            post(Event.Reached(effect.order.session, offset, etag))
            tellNowAndThen()
            pulse()
            post(Event.Probed(ports.device.snapshot(), null))
            val now = state.job?.phase
            loaded && now is Phase.Downloading && now.session == effect.order.session && !now.ask
        }

    private fun tellNowAndThen() {
        val now = ports.clock.elapsedMs()
        if (now - toldAtMs < TELL_EVERY_MS) return
        toldAtMs = now
        courier.deliver(state, ::post)
    }

    private companion object {
        const val RELOAD_MS = 30_000L
        const val TELL_EVERY_MS = 2_000L
    }
}
