package com.nexmdm.agent.harness

import java.nio.ByteBuffer
import java.nio.channels.NonWritableChannelException
import java.nio.channels.SeekableByteChannel

/** Bytes in memory, as a file that can be read anywhere. */
class ByteChannel(private val bytes: ByteArray) : SeekableByteChannel {
    private var at = 0L

    override fun read(target: ByteBuffer): Int {
        if (at >= bytes.size) return -1
        val count = minOf(target.remaining(), bytes.size - at.toInt())
        target.put(bytes, at.toInt(), count)
        at += count
        return count
    }

    override fun position(): Long = at

    override fun position(newPosition: Long): SeekableByteChannel = apply { at = newPosition }

    override fun size(): Long = bytes.size.toLong()

    override fun write(source: ByteBuffer): Int = throw NonWritableChannelException()

    override fun truncate(size: Long): SeekableByteChannel = throw NonWritableChannelException()

    override fun isOpen(): Boolean = true

    override fun close() = Unit
}
