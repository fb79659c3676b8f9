package com.nexmdm.agent.android

import android.app.Application
import android.content.Context
import android.content.Intent
import android.net.ConnectivityManager
import android.os.SystemClock
import com.nexmdm.agent.engine.Agent
import com.nexmdm.agent.engine.AgentSettings
import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.engine.Phase
import com.nexmdm.agent.engine.Ports
import com.nexmdm.agent.net.UrlConnectionTransport
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.store.DiskFile
import com.nexmdm.agent.store.Provision
import com.nexmdm.agent.store.ProvisionFile
import java.io.IOException
import java.nio.file.Path
import java.time.Instant
import java.util.concurrent.Executors

/** The application names its notices; everything that the platform starts finds the agent through it. */
public abstract class AgentApplication : Application() {
    public val host: AgentHost by lazy { AgentHost(this, notices(this)) }

    protected abstract fun notices(context: Context): Notices

    override fun onCreate() {
        super.onCreate()
        host.start()
    }
}

/** The one agent of this process. Its files can be read before the device is first unlocked after a boot. */
public class AgentHost internal constructor(context: Context, private val notices: Notices) {
    private val storage = context.createDeviceProtectedStorageContext()
    private val provisions = ProvisionFile(DiskFile(file("provision.json")))
    private val pushToken = PushToken(storage)
    private val scheduler = WorkScheduler(context)
    private val worker = Worker(::turn, scheduler::comeBack)
    private val callers = Executors.newSingleThreadExecutor()
    private val ports =
        Ports(InstallerSessions(storage), InstalledPackages(storage), AndroidDevice(storage, notices), PhoneClock)
    private val policy = DevicePolicy(storage)

    @Volatile
    private var agent: Agent? = null

    /** Null until the device was provisioned. */
    public val current: Agent? get() = agent ?: born()

    public val provision: Provision? get() = provisions.read()

    public val isOwner: Boolean get() = policy.isOwner

    /** What the platform wants to ask a person right now. */
    public fun question(): Intent? {
        val phase = current?.state?.job?.phase as? Phase.Watching ?: return null
        return InstallPrompts(storage).of(phase.session)
    }

    internal fun start() {
        policy.settle()
        scheduler.keepComing()
    }

    internal fun work(holder: Holder): Unit = worker.call(holder)

    internal fun forget(holder: Holder): Unit = worker.forget(holder)

    /** Something happened outside: look at it as soon as the platform lets the agent run. */
    public fun wake(): Unit = scheduler.comeNow()

    /**
     * Set-up wizards say it twice. False if it could not be kept, or if the device belongs to another server or to one
     * that has not turned it away.
     */
    public fun provisioned(provision: Provision): Boolean {
        policy.settle()
        return isTaken(provision).also { wake() }
    }

    @Synchronized
    private fun isTaken(provision: Provision): Boolean {
        val now = current
        if (now?.mayEnrolAt(provision.server) == false) return false
        val isNews = now?.refused != null || provision != provisions.read()
        if (isNews && !isKept(provision)) return false
        if (isNews) begin(now, provision)
        return true
    }

    /** One journal has one agent: who was a member goes on with it. */
    private fun begin(now: Agent?, provision: Provision) {
        val token = provision.enrollmentToken
        if (now?.isEnrolled == true && token != null) now.enrolAgain(token) else agent = null
    }

    internal fun said(session: Int, verdict: InstallVerdict, then: () -> Unit): Unit =
        callers.execute {
            current?.said(session, verdict)
            wake()
            then()
        }

    internal fun pushed(data: Map<String, String>): Unit =
        callers.execute {
            current?.pushed(data)
            wake()
        }

    internal fun pushToken(token: String) {
        pushToken.keep(token)
        current?.pushToken = token
        wake()
    }

    private fun turn(): Long {
        val now = current ?: return Agent.NEVER
        val pauseMs = now.work()
        dropEnrollmentToken(now)
        return pauseMs
    }

    @Synchronized
    private fun born(): Agent? {
        agent?.let { return it }
        val known = provisions.read() ?: return null
        val settings =
            AgentSettings(
                server = known.server,
                device = identityOf(storage),
                journal = DiskFile(file("journal")),
                account = DiskFile(file("account.json")),
            )
        val connectivity = storage.service<ConnectivityManager>()
        val transport =
            UrlConnectionTransport { url -> connectivity.activeNetwork?.openConnection(url) ?: url.openConnection() }
        val fresh = Agent(settings, ports, transport, listener = { _, new -> notices.changed(new) })
        fresh.enrollmentToken = known.enrollmentToken
        fresh.pushToken = pushToken.read()
        agent = fresh
        return fresh
    }

    /** It is spent, or refused. If the disk is full, the next turn tries again. */
    @Synchronized
    private fun dropEnrollmentToken(now: Agent) {
        if (!now.isEnrolled || now.enrollmentToken != null) return
        provisions.read()?.takeIf { it.enrollmentToken != null }?.let { isKept(it.copy(enrollmentToken = null)) }
    }

    private fun isKept(provision: Provision): Boolean =
        try {
            provisions.write(provision)
            true
        } catch (_: IOException) {
            false
        }

    private fun file(name: String): Path = storage.filesDir.toPath().resolve(name)

    public companion object {
        public fun of(context: Context): AgentHost = (context.applicationContext as AgentApplication).host
    }
}

private class PushToken(context: Context) {
    private val kept = context.getSharedPreferences("push", Context.MODE_PRIVATE)

    fun read(): String? = kept.getString("token", null)

    fun keep(token: String): Unit = kept.edit().putString("token", token).apply()
}

private object PhoneClock : Clock {
    override fun now(): Instant = Instant.now()

    override fun elapsedMs(): Long = SystemClock.elapsedRealtime()
}
