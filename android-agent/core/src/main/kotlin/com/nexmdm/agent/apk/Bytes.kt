package com.nexmdm.agent.apk

import java.io.EOFException
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.SeekableByteChannel
import java.security.MessageDigest

/** [length] bytes from [start], little endian; outside the file is an [IOException]. */
internal fun SeekableByteChannel.slice(start: Long, length: Int): ByteBuffer {
    if (start < 0 || length < 0 || start + length > size()) throw EOFException("outside the file")
    val bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN)
    position(start)
    while (bytes.hasRemaining()) {
        if (read(bytes) < 0) throw EOFException("outside the file")
    }
    bytes.flip()
    return bytes
}

internal fun ByteBuffer.part(start: Int, length: Int): ByteBuffer {
    if (start < 0 || length < 0 || length > limit() - start) throw IOException("a length points outside its block")
    val copy = duplicate()
    copy.limit(start + length)
    copy.position(start)
    return copy.slice().order(ByteOrder.LITTLE_ENDIAN)
}

/** The next block that is preceded by its length; moves on. */
internal fun ByteBuffer.lengthPrefixed(): ByteBuffer {
    val length = getInt()
    val block = part(position(), length)
    position(position() + length)
    return block
}

internal fun ByteBuffer.unsignedShort(at: Int): Int = getShort(at).toInt() and 0xffff

internal fun ByteBuffer.unsignedInt(at: Int): Long = getInt(at).toLong() and 0xffff_ffffL

internal fun ByteBuffer.text(start: Int, length: Int): String = Charsets.UTF_8.decode(part(start, length)).toString()

internal fun sha256Hex(bytes: ByteBuffer): String {
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(bytes)
    return digest.digest().toHex()
}

public fun ByteArray.toHex(): String = joinToString("") { "%02x".format(it) }
