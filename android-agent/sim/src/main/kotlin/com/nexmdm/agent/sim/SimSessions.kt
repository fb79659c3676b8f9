package com.nexmdm.agent.sim

import com.nexmdm.agent.apk.ApkFacts
import com.nexmdm.agent.apk.ApkInspector
import com.nexmdm.agent.apk.Inspection
import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.engine.SessionPort
import com.nexmdm.agent.engine.SessionSink
import com.nexmdm.agent.engine.SessionState
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.policy.InstallVerdict
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.channels.SeekableByteChannel
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardOpenOption.CREATE
import java.nio.file.StandardOpenOption.READ
import java.nio.file.StandardOpenOption.WRITE
import java.util.concurrent.ConcurrentHashMap
import kotlin.io.path.listDirectoryEntries
import kotlin.io.path.name
import kotlin.random.Random

/** `N.session` is being written, `N.committed` waits for the platform: what is on the disk is the whole truth. */
internal class SimSessions(
    private val folder: Path,
    private val packages: SimPackages,
    private val faults: Faults,
    private val installLater: (Int) -> Unit,
) : SessionPort {
    /** [replaced] is the package that is there now. */
    class Result(val verdict: InstallVerdict, val replaced: String? = null, val versionCode: Long? = null)

    private val room = faults.bytes(FaultKind.NO_SPACE) ?: Long.MAX_VALUE
    private val asked = ConcurrentHashMap.newKeySet<Int>()

    init {
        mine().filterValues { it == SessionState.COMMITTED }.keys.forEach(installLater)
    }

    override fun create(packageName: String, sizeBytes: Long): Int {
        if (FaultKind.NO_SPACE in faults && room == Long.MAX_VALUE) {
            throw PortFailure(FailureCode.INSUFFICIENT_STORAGE, "No suitable internal storage available")
        }
        // As Android does it: a number that comes again only by a rare chance, so that a late word finds nobody.
        val session = Random.nextInt(1, Int.MAX_VALUE)
        Files.createFile(open(session))
        return session
    }

    override fun write(session: Int, offset: Long): SessionSink {
        val file = FileChannel.open(open(session), WRITE)
        file.position(offset)
        return object : SessionSink {
            override fun write(bytes: ByteArray, length: Int) {
                if (file.position() + length > room) throw IOException("No space left on device")
                val left = ByteBuffer.wrap(bytes, 0, length)
                while (left.hasRemaining()) file.write(left)
            }

            override fun sync() = file.force(false)

            override fun close() = file.close()
        }
    }

    override fun read(session: Int): SeekableByteChannel = FileChannel.open(open(session), READ)

    override fun commit(session: Int) {
        Files.move(open(session), committed(session))
        installLater(session)
    }

    /** The question comes up, and is answered in its time. */
    fun ask(session: Int): Boolean {
        asked += session
        installLater(session)
        return true
    }

    override fun abandon(session: Int) {
        Files.deleteIfExists(open(session))
        Files.deleteIfExists(committed(session))
    }

    override fun mine(): Map<Int, SessionState> =
        folder.listDirectoryEntries("*.{session,committed}").associate { file ->
            val state = if (file.name.endsWith(".session")) SessionState.OPEN else SessionState.COMMITTED
            file.name.substringBefore('.').toInt() to state
        }

    /** What a platform does with a committed session; null if it was abandoned meanwhile. */
    fun finish(session: Int): Result? {
        val file = committed(session)
        if (!Files.exists(file)) return null
        if (FaultKind.DECLINES in faults && session !in asked) return Result(InstallVerdict.AskPerson)
        val result = FileChannel.open(file, CREATE, READ, WRITE).use(::judge)
        Files.deleteIfExists(file)
        return result
    }

    private fun judge(file: SeekableByteChannel): Result {
        val declined = if (FaultKind.DECLINES in faults) FailureCode.INSTALL_ABORTED.name else null
        val refusal = declined ?: faults.detail(FaultKind.INSTALL)?.uppercase()
        if (refusal != null) return Result(InstallVerdict.Failed(FailureCode.valueOf(refusal), "as scripted"))
        return when (val read = ApkInspector.inspect(file, SimAgent.SDK)) {
            is Inspection.Read -> installed(read.facts)
            else -> Result(InstallVerdict.Failed(FailureCode.APK_INVALID, "INSTALL_PARSE_FAILED_NOT_APK"))
        }
    }

    private fun installed(facts: ApkFacts): Result {
        val before = packages.installed(facts.packageName)
        if (before != null && before.versionCode > facts.versionCode) {
            return Result(InstallVerdict.Failed(FailureCode.VERSION_DOWNGRADE, "INSTALL_FAILED_VERSION_DOWNGRADE"))
        }
        val signers = facts.signers.current.toSet()
        val updated = (before?.updatedAt ?: 0) + 1
        packages.put(InstalledPackage(facts.packageName, facts.versionCode, facts.versionName, signers, updated))
        return Result(InstallVerdict.Done, facts.packageName, facts.versionCode)
    }

    private fun open(session: Int): Path = folder.resolve("$session.session")

    private fun committed(session: Int): Path = folder.resolve("$session.committed")
}
