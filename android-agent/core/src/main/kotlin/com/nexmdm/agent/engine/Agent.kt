package com.nexmdm.agent.engine

import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.net.DownloadLimits
import com.nexmdm.agent.net.Downloader
import com.nexmdm.agent.net.HttpTransport
import com.nexmdm.agent.net.ServerApi
import com.nexmdm.agent.policy.Backoff
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.proto.Beat
import com.nexmdm.agent.proto.CommandParser
import com.nexmdm.agent.proto.Enrolment
import com.nexmdm.agent.proto.Incoming
import com.nexmdm.agent.store.Account
import com.nexmdm.agent.store.DurableFile
import com.nexmdm.agent.store.Journal
import java.io.IOException
import kotlin.random.Random

/** Where an agent belongs and where it keeps what must survive. */
public class AgentSettings(
    public val server: String,
    public val device: DeviceIdentity,
    public val journal: DurableFile,
    public val account: DurableFile,
    public val limits: DownloadLimits = DownloadLimits(),
)

/** How a device stands with its server. */
public enum class Membership {
    /** No server, and no enrolment token to be taken with. */
    NONE,

    /** It has an enrolment token and waits for the server's answer. */
    JOINING,

    /** The server does not accept the enrolment token or the device; [Agent.refused] says why. */
    REFUSED,
    MEMBER,

    /** The server does not accept the device any more. */
    TURNED_AWAY,
}

/** One device's agent: enrols, beats, and lets the coordinator work. [work] belongs to one thread at a time. */
public class Agent(
    private val settings: AgentSettings,
    private val ports: Ports,
    transport: HttpTransport,
    private val random: Random = Random.Default,
    listener: StateListener = StateListener { _, _ -> },
) {
    private val account = Account(settings.account, settings.server)
    private val api = ServerApi(settings.server, transport, account, ports.clock)
    private val time = ServerTime(ports.clock)
    private val coordinator =
        Coordinator(
            Reducer(settings.device.agentPackage, settings.device.sdkInt) { ports.device.snapshot().zone },
            Journal(settings.journal),
            ports,
            api,
            Downloader(settings.server, transport, ports.sessions, ports.clock, settings.limits),
            time,
            settings.device.sdkInt,
            random,
            listener,
        )

    @Volatile
    private var beatAtMs = 0L
    private var failures = 0
    private var known: List<InstalledPackage>? = null
    private var knownAtMs = 0L

    @Volatile
    private var lastFailure: Enrolment.Refused? = null

    /** Given by the person or the provisioning; kept until the server has taken the device, or refused it. */
    @Volatile
    public var enrollmentToken: String? = null

    @Volatile
    public var pushToken: String? = null

    public val state: State get() = coordinator.state
    public val deviceId: String? get() = account.deviceId?.text
    public val isEnrolled: Boolean get() = account.tokens.isNotEmpty()

    /** Why the server will not have this device; no repeat helps. */
    public val refused: Enrolment.Refused? get() = lastFailure

    /** The server takes this device's token no more, or has not taken it lately; it is still asked now and then. */
    @Volatile
    public var isTurnedAway: Boolean = false
        private set

    public val membership: Membership
        get() =
            when {
                isEnrolled && !isTurnedAway -> Membership.MEMBER
                enrollmentToken != null -> Membership.JOINING
                refused != null -> Membership.REFUSED
                isEnrolled -> Membership.TURNED_AWAY
                else -> Membership.NONE
            }

    /** Does what is due and says in how many milliseconds to come back; [NEVER] = only news brings something to do. */
    public fun work(): Long {
        if (isTurnedAway && enrollmentToken != null) enrol()
        if (!isEnrolled && !enrol()) return if (enrollmentToken == null) NEVER else untilBeat()
        val idle = coordinator.state.job == null
        beatIfDue()
        val pause = coordinator.work(::beatIfDue)
        if (!idle && coordinator.state.job == null) beatAtMs = minOf(beatAtMs, ports.clock.elapsedMs() + AFTER_JOB_MS)
        return minOf(pause ?: NEVER, untilBeat())
    }

    /**
     * Whether a person may give this device to [server] now. Once it belongs to one, only that one takes it back, and
     * only when it has turned it away.
     */
    public fun mayEnrolAt(server: String): Boolean = !isEnrolled || (isTurnedAway && server == settings.server)

    /** The server that turned this device away has given it another enrolment token. */
    public fun enrolAgain(token: String) {
        lastFailure = null
        enrollmentToken = token
        beatAtMs = 0
    }

    /** An FCM data message: only a hint, the server is asked before anything happens. */
    public fun pushed(data: Map<String, String>) {
        coordinator.load()
        when (val read = CommandParser.fromPush(data)) {
            is Incoming.Command -> hinted(Incoming.Hint(read.command.key, read.command.deviceId))
            is Incoming.Hint -> hinted(read)
            is Incoming.Rejected -> if (failures == 0) beatAtMs = 0
        }
    }

    /** The platform's word on a committed session, whenever and however often it comes. */
    public fun said(session: Int, verdict: InstallVerdict) {
        coordinator.load()
        coordinator.post(Event.Said(session, verdict))
    }

    private fun hinted(hint: Incoming.Hint) {
        if (hint.deviceId != account.deviceId) return
        val isCurrent = coordinator.state.job?.key == hint.key
        coordinator.post(if (isCurrent) Event.Poked else Event.Ordered(hint.key))
    }

    private fun enrol(): Boolean {
        val token = enrollmentToken
        if (token == null || untilBeat() > 0) return false
        val answer = api.enroll(settings.device, token, pushToken, ports.packages.inventory())
        when (answer) {
            is Enrolment.Done -> return enrolled(answer, token)
            is Enrolment.Refused -> {
                lastFailure = answer
                forget(token)
            }
            is Enrolment.Unreachable -> again(answer.retryAfterMs)
        }
        return false
    }

    private fun enrolled(done: Enrolment.Done, enrollmentToken: String): Boolean {
        try {
            account.enrolled(done.deviceId, done.token, ports.clock.now().toEpochMilli())
        } catch (_: IOException) {
            again(null)
            return false
        }
        failures = 0
        isTurnedAway = false
        known = null
        forget(enrollmentToken)
        return true
    }

    /** Unless a person has given another one meanwhile. */
    private fun forget(token: String) {
        if (enrollmentToken == token) enrollmentToken = null
    }

    private fun beatIfDue() {
        if (untilBeat() > 0) return
        rotateIfOld()
        val packages = ports.packages.inventory()
        val isNews = packages != known || ports.clock.elapsedMs() - knownAtMs > INVENTORY_MS
        val news = packages.takeIf { isNews }
        when (val answer = api.heartbeat(settings.device, ports.device.snapshot(), pushToken, news)) {
            is Beat.Answered -> {
                news?.let(::told)
                answered(answer)
            }
            is Beat.Unreachable -> unreached(answer)
            is Beat.TurnedAway -> {
                isTurnedAway = true
                again(TURNED_AWAY_MS)
                if (enrollmentToken != null) beatAtMs = 0
            }
        }
    }

    private fun told(packages: List<InstalledPackage>) {
        known = packages
        knownAtMs = ports.clock.elapsedMs()
    }

    /** Who was away may have come back from a backup, with an older memory. Who is only busy is not made busier. */
    private fun unreached(answer: Beat.Unreachable) {
        if (answer.retryAfterMs == null) known = null
        again(answer.retryAfterMs)
    }

    private fun answered(beat: Beat.Answered) {
        failures = 0
        isTurnedAway = false
        enrollmentToken = null
        beat.serverTime?.let(time::learn)
        beatAtMs = ports.clock.elapsedMs() + Backoff.jittered(beat.intervalSec, random)
        coordinator.load()
        for (incoming in beat.commands) {
            when (incoming) {
                is Incoming.Command if incoming.command.deviceId == account.deviceId ->
                    coordinator.post(Event.Ordered(incoming.command.key))
                is Incoming.Command -> Unit
                is Incoming.Rejected -> incoming.key?.let { coordinator.post(Event.Misunderstood(it, incoming.why)) }
                is Incoming.Hint -> hinted(incoming)
            }
        }
    }

    /** The new token is on disk beside the old one before either is used again. */
    private fun rotateIfOld() {
        val now = ports.clock.now().toEpochMilli()
        if (account.tokens.size != 1 || now - account.tokenSinceMs < TOKEN_AGE_MS) return
        val token = api.newToken() ?: return
        try {
            account.rotated(token, now)
        } catch (_: IOException) {
            return
        }
    }

    private fun again(askedMs: Long?) {
        failures++
        beatAtMs = ports.clock.elapsedMs() + BEAT_AGAIN.pauseMs(failures, random, askedMs)
    }

    private fun untilBeat(): Long = (beatAtMs - ports.clock.elapsedMs()).coerceAtLeast(0)

    public companion object {
        public const val NEVER: Long = Long.MAX_VALUE
        private val BEAT_AGAIN = Backoff(firstMs = 2_000, maxMs = 5 * 60_000)
        private const val TURNED_AWAY_MS = 15 * 60_000L
        private const val INVENTORY_MS = 6 * 3600 * 1000L
        private const val TOKEN_AGE_MS = 30L * 24 * 3600 * 1000
        private const val AFTER_JOB_MS = 500L
    }
}
