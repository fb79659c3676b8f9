package com.nexmdm.agent.android

import android.content.Context
import android.content.pm.PackageInstaller
import android.content.pm.PackageInstaller.SessionInfo
import android.content.pm.PackageInstaller.SessionParams
import android.content.pm.PackageManager
import android.os.Build
import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.engine.SessionPort
import com.nexmdm.agent.engine.SessionSink
import com.nexmdm.agent.engine.SessionState
import com.nexmdm.agent.model.FailureCode
import java.io.FileInputStream
import java.io.IOException
import java.io.OutputStream
import java.nio.channels.SeekableByteChannel

/** PackageInstaller's sessions: where the bytes of an APK go, and from where a transfer is resumed. */
internal class InstallerSessions(private val context: Context) : SessionPort {
    private val installer: PackageInstaller get() = context.packageManager.packageInstaller

    override fun create(packageName: String, sizeBytes: Long): Int =
        try {
            installer.createSession(paramsFor(packageName, sizeBytes))
        } catch (e: SecurityException) {
            throw PortFailure(FailureCode.NOT_PERMITTED, e.message.orEmpty(), e)
        } catch (e: IllegalStateException) {
            throw PortFailure(FailureCode.SESSION_LIMIT, e.message.orEmpty(), e)
        } catch (e: IOException) {
            throw PortFailure(FailureCode.INSUFFICIENT_STORAGE, e.message.orEmpty(), e)
        }

    override fun write(session: Int, offset: Long): SessionSink {
        val open = open(session)
        return try {
            SessionFile(open, platform { open.openWrite(APK, offset, UNKNOWN_LENGTH) })
        } catch (e: IOException) {
            open.close()
            throw e
        }
    }

    /** What comes out of a session is a plain file behind the platform's stream. */
    override fun read(session: Int): SeekableByteChannel {
        val stream = open(session).use { open -> platform { open.openRead(APK) } }
        return (stream as? FileInputStream)?.channel ?: throw IOException("the session cannot be read in place")
    }

    override fun commit(session: Int): Unit =
        open(session).use { open -> platform { open.commit(InstallResults.sender(context, session)) } }

    override fun abandon(session: Int) {
        InstallPrompts(context).forget(session)
        try {
            installer.abandonSession(session)
        } catch (_: SecurityException) {
            return // It is gone, which is what was wanted.
        } catch (_: IllegalStateException) {
            return
        }
    }

    override fun mine(): Map<Int, SessionState> =
        installer.mySessions.associate {
            it.getSessionId() to if (isCommitted(it)) SessionState.COMMITTED else SessionState.OPEN
        }

    private fun isCommitted(info: SessionInfo): Boolean =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) committed(info) else info.isSealed

    @NewerApi(29)
    private fun committed(info: SessionInfo): Boolean = info.isCommitted()

    /** A session that cannot be opened is gone, or never was this app's. */
    private fun open(session: Int): PackageInstaller.Session =
        try {
            installer.openSession(session)
        } catch (e: SecurityException) {
            throw PortFailure(FailureCode.INSTALL_ABORTED, e.message.orEmpty(), e)
        }

    private fun paramsFor(packageName: String, sizeBytes: Long): SessionParams {
        val params = SessionParams(SessionParams.MODE_FULL_INSTALL)
        params.setAppPackageName(packageName)
        params.setSize(sizeBytes)
        params.setInstallReason(PackageManager.INSTALL_REASON_POLICY)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) withoutPerson(params)
        return params
    }

    /** A device owner needs no consent anyway; elsewhere the platform may grant it for an update. */
    @NewerApi(31)
    private fun withoutPerson(params: SessionParams) {
        params.setRequireUserAction(SessionParams.USER_ACTION_NOT_REQUIRED)
    }

    private class SessionFile(
        private val session: PackageInstaller.Session,
        private val stream: OutputStream,
    ) : SessionSink {
        override fun write(bytes: ByteArray, length: Int): Unit = stream.write(bytes, 0, length)

        override fun sync(): Unit = platform { session.fsync(stream) }

        override fun close() {
            session.use { stream.close() }
        }
    }

    private companion object {
        const val APK = "base.apk"
        const val UNKNOWN_LENGTH = -1L
    }
}

/** The platform refuses with unchecked exceptions what for the engine is one more failure of the outside. */
internal inline fun <T> platform(call: () -> T): T =
    try {
        call()
    } catch (e: SecurityException) {
        throw IOException(e.message, e)
    } catch (e: IllegalStateException) {
        throw IOException(e.message, e)
    } catch (e: IllegalArgumentException) {
        throw IOException(e.message, e)
    }
