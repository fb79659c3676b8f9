package com.nexmdm.agent.harness

import com.nexmdm.agent.apk.ApkInspector
import com.nexmdm.agent.apk.Inspection
import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.engine.DevicePort
import com.nexmdm.agent.engine.PackagePort
import com.nexmdm.agent.engine.SessionPort
import com.nexmdm.agent.engine.SessionSink
import com.nexmdm.agent.engine.SessionState
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.model.RestartIntent
import com.nexmdm.agent.policy.InstallVerdict
import java.io.IOException
import java.nio.channels.SeekableByteChannel
import java.time.Instant

class FakeClock(private val wall: Instant) : Clock {
    var elapsed = 0L

    override fun now(): Instant = wall.plusMillis(elapsed)

    override fun elapsedMs(): Long = elapsed
}

/**
 * A device that keeps what a real one keeps when a process dies: packages, sessions, synced bytes. Every touch goes
 * through the fuse. It writes down each thing that must never happen.
 */
class FakeDevice(private val fuse: Fuse, private val clock: FakeClock) {
    class Session(val packageName: String) {
        var bytes = ByteArray(0)
        var synced = 0
        var committedAt: Long? = null
    }

    val packages = mutableMapOf<String, InstalledPackage>()
    val open = sortedMapOf<Int, Session>()
    val violations = mutableListOf<String>()
    val allowed = mutableSetOf<String>()
    val launched = mutableListOf<String>()
    var snapshot = DeviceSnapshot(Network.WIFI, metered = false, battery = 90, charging = true, freeStorageMb = 4000)
    var onSnapshot: (Int) -> Unit = {}
    var installMs = 3_000L
    var verdict: (Session) -> InstallVerdict = { InstallVerdict.Done }
    var answersPrompt: InstallVerdict? = InstallVerdict.Done
    var losesBroadcasts = false
    var commits = 0

    /** How often the platform has put something on the device. */
    var installed = 0

    /** How often the device had been looked at when the last install began. */
    var snapshotsAtCommit = 0

    /** How much had been touched by then: the commit itself is this touch and the next. */
    var touchesAtCommit = 0
    var room = Int.MAX_VALUE
    private var snapshots = 0
    private var nextSession = 1
    private var installs = 100L
    private val words = ArrayDeque<Pair<Int, InstallVerdict>>()

    val sessions = Sessions()
    val packagePort = Packages()
    val device = Device()

    fun install(packageName: String, code: Long, signer: ByteArray = ApkFactory.signerA) {
        packages[packageName] =
            InstalledPackage(packageName, code, "1.0.$code", setOf(sha256(signer)), updatedAt = installs++)
    }

    /** What the platform does by itself as time goes by. Returns packages that were replaced now. */
    fun settle(): List<String> {
        val due = open.filterValues { it.committedAt?.let { at -> at + installMs <= clock.elapsed } == true }
        return due.mapNotNull { (id, session) -> finish(id, session, verdict(session)) }
    }

    /** Broadcasts that wait for a process to hear them. */
    fun word(): Pair<Int, InstallVerdict>? = words.removeFirstOrNull()

    /** The process died: what was not synced is gone, and perhaps what was said to it. */
    fun processDied() {
        open.values.forEach { it.bytes = it.bytes.copyOf(it.synced) }
        if (losesBroadcasts) words.clear()
    }

    private fun finish(id: Int, session: Session, verdict: InstallVerdict): String? {
        words += id to verdict
        if (verdict is InstallVerdict.AskPerson) {
            session.committedAt = Long.MAX_VALUE / 2
            return null
        }
        open.remove(id)
        if (verdict is InstallVerdict.Done) installed++
        if (verdict !is InstallVerdict.Done) return null
        val facts = (ApkInspector.inspect(ByteChannel(session.bytes), 34) as Inspection.Read).facts
        packages[facts.packageName] =
            InstalledPackage(
                facts.packageName,
                facts.versionCode,
                facts.versionName,
                facts.signers.current.toSet(),
                installs++,
            )
        return facts.packageName
    }

    inner class Sessions : SessionPort {
        override fun create(packageName: String, sizeBytes: Long): Int =
            fuse.around {
                if (open.isNotEmpty()) violations += "a second session beside ${open.keys}"
                open[nextSession] = Session(packageName)
                nextSession++
            }

        override fun write(session: Int, offset: Long): SessionSink = fuse.around {
            Sink(found(session), offset.toInt())
        }

        override fun read(session: Int): SeekableByteChannel = fuse.around { ByteChannel(found(session).bytes) }

        override fun commit(session: Int) {
            fuse.touch()
            val found = found(session)
            commits++
            snapshotsAtCommit = snapshots
            touchesAtCommit = fuse.count
            if (sha256(found.bytes) !in allowed) violations += "commit of ${found.bytes.size} bytes that nobody ordered"
            found.committedAt = clock.elapsed
            fuse.touch()
        }

        override fun abandon(session: Int) {
            fuse.around { open.remove(session) }
        }

        override fun mine(): Map<Int, SessionState> =
            open.mapValues { if (it.value.committedAt == null) SessionState.OPEN else SessionState.COMMITTED }

        private fun found(session: Int): Session = open[session] ?: throw IOException("no session $session")
    }

    private inner class Sink(private val session: Session, private var at: Int) : SessionSink {
        override fun write(bytes: ByteArray, length: Int) {
            fuse.touch()
            if (at + length > room) throw IOException("no space left on device")
            session.bytes = session.bytes.copyOf(maxOf(at, session.bytes.size)).copyOf(at) + bytes.copyOf(length)
            session.synced = minOf(session.synced, at)
            at += length
        }

        override fun sync() {
            fuse.around { session.synced = session.bytes.size }
            clock.elapsed += SYNC_MS
        }

        override fun close() = Unit
    }

    inner class Packages : PackagePort {
        override fun installed(packageName: String): InstalledPackage? = packages[packageName]

        override fun inventory(): List<InstalledPackage> = packages.values.toList()

        override fun uninstall(packageName: String) {
            fuse.around { packages.remove(packageName) }
        }
    }

    inner class Device : DevicePort {
        override fun snapshot(): DeviceSnapshot = snapshot.also { onSnapshot(++snapshots) }

        override fun prompt(session: Int): Boolean {
            fuse.touch()
            val answer = answersPrompt
            if (answer != null) {
                verdict = { answer }
                open[session]?.committedAt = clock.elapsed
            }
            fuse.touch()
            return true
        }

        override fun launch(packageName: String, intent: RestartIntent): Boolean =
            fuse.around { launched.add("$packageName ${intent.action}") }
    }

    companion object {
        const val SYNC_MS = 2_000L
    }
}
