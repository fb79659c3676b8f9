package com.nexmdm.agent.harness

import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.engine.SessionPort
import com.nexmdm.agent.engine.SessionSink
import com.nexmdm.agent.engine.SessionState
import java.io.IOException
import java.nio.channels.SeekableByteChannel

/** One session in memory, that can run full at a byte or at a sync, or refuse in its own words. */
class MemorySession : SessionPort {
    var bytes = ByteArray(0)
    var full = Int.MAX_VALUE
    var syncsUntilFull = Int.MAX_VALUE
    var refusal: PortFailure? = null

    override fun create(packageName: String, sizeBytes: Long): Int = 1

    override fun write(session: Int, offset: Long): SessionSink =
        object : SessionSink {
            private var at = offset.toInt()

            override fun write(bytes: ByteArray, length: Int) {
                refusal?.let { throw it }
                if (at + length > full) throw IOException("no space left on device")
                val grown = this@MemorySession.bytes.copyOf(maxOf(this@MemorySession.bytes.size, at + length))
                bytes.copyInto(grown, at, 0, length)
                this@MemorySession.bytes = grown
                at += length
            }

            override fun sync() {
                if (--syncsUntilFull == 0) throw IOException("no space left on device")
            }

            override fun close() = Unit
        }

    override fun read(session: Int): SeekableByteChannel = ByteChannel(bytes)

    override fun commit(session: Int) = Unit

    override fun abandon(session: Int) = Unit

    override fun mine(): Map<Int, SessionState> = mapOf(1 to SessionState.OPEN)
}
