package com.nexmdm.agent.engine

import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.RestartIntent
import java.io.Closeable
import java.io.IOException
import java.nio.channels.SeekableByteChannel
import java.time.Instant

/** The place to which an APK is written and from which it is installed; there is no second copy of the bytes. */
public interface SessionPort {
    /** @throws PortFailure with the code that the server is told. */
    public fun create(packageName: String, sizeBytes: Long): Int

    /** Writes go to [offset] and on. */
    public fun write(session: Int, offset: Long): SessionSink

    public fun read(session: Int): SeekableByteChannel

    /** Asks for the install; its result comes later, as an event. May be the last thing that this process does. */
    public fun commit(session: Int)

    /** Never throws; a session that is gone is no failure. */
    public fun abandon(session: Int)

    /** This agent's sessions. */
    public fun mine(): Map<Int, SessionState>
}

public enum class SessionState { OPEN, COMMITTED, GONE }

public interface SessionSink : Closeable {
    public fun write(bytes: ByteArray, length: Int)

    /** What was written so far survives the end of the process. */
    public fun sync()
}

public interface PackagePort {
    public fun installed(packageName: String): InstalledPackage?

    /** All packages that could be managed. */
    public fun inventory(): List<InstalledPackage>

    /** Waits for the end of it. @throws PortFailure if the package is still there. */
    public fun uninstall(packageName: String)
}

public interface DevicePort {
    public fun snapshot(): DeviceSnapshot

    /** Puts the question of [session] before a person; false if there is no way to. */
    public fun prompt(session: Int): Boolean

    /** Sends [intent] to [packageName] alone; false if it does not resolve or fails. */
    public fun launch(packageName: String, intent: RestartIntent): Boolean
}

/** [now] may be wrong by years; only [elapsedMs] measures. */
public interface Clock {
    public fun now(): Instant

    public fun elapsedMs(): Long
}

/** A port could not do what was asked, with the code for the server. */
public class PortFailure(
    public val code: FailureCode,
    message: String,
    cause: Throwable? = null,
) : IOException(message, cause)
