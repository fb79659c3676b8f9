package com.nexmdm.agent.apk

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.SeekableByteChannel
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/** The central directory of a ZIP file without ZIP64. [directoryStart] is where the signing block must end. */
internal class ZipDirectory private constructor(
    val directoryStart: Long,
    private val entries: Map<String, Entry>,
) {
    private class Entry(val method: Int, val packed: Long, val size: Long, val header: Long)

    /** The bytes of one entry, never more than [limit]. */
    fun content(channel: SeekableByteChannel, name: String, limit: Int): ByteBuffer {
        val entry = entries[name] ?: throw IOException("no $name")
        if (entry.size !in 1..limit || entry.packed !in 1..limit) throw IOException("$name has an impossible size")
        val header = channel.slice(entry.header, LOCAL_HEADER)
        if (header.getInt(0) != LOCAL_MAGIC) throw IOException("no local header for $name")
        val start = entry.header + LOCAL_HEADER + header.unsignedShort(26) + header.unsignedShort(28)
        val packed = channel.slice(start, entry.packed.toInt())
        return when (entry.method) {
            0 -> packed
            8 -> inflate(packed, entry.size.toInt())
            else -> throw IOException("unknown compression ${entry.method}")
        }
    }

    private fun inflate(packed: ByteBuffer, size: Int): ByteBuffer {
        val inflater = Inflater(true)
        try {
            inflater.setInput(packed.array(), 0, packed.remaining())
            val out = ByteArray(size)
            var done = 0
            while (done < size) {
                val step = inflater.inflate(out, done, size - done)
                if (step == 0) throw IOException("compressed data ends early")
                done += step
            }
            return ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN)
        } catch (e: DataFormatException) {
            throw IOException("damaged compressed data", e)
        } finally {
            inflater.end()
        }
    }

    companion object {
        private const val END_MAGIC = 0x06054b50
        private const val CENTRAL_MAGIC = 0x02014b50
        private const val LOCAL_MAGIC = 0x04034b50
        private const val END_RECORD = 22
        private const val CENTRAL_HEADER = 46
        private const val LOCAL_HEADER = 30
        private const val MAX_COMMENT = 65_535
        private const val MAX_DIRECTORY = 16L * 1024 * 1024

        fun read(channel: SeekableByteChannel): ZipDirectory {
            val end = endRecord(channel)
            val count = end.unsignedShort(10)
            val size = end.unsignedInt(12)
            val start = end.unsignedInt(16)
            val whole = size <= MAX_DIRECTORY && start + size <= channel.size() && count != 0xffff
            if (!whole) throw IOException("the ZIP directory is out of bounds")
            return ZipDirectory(start, entries(channel.slice(start, size.toInt()), count))
        }

        private fun endRecord(channel: SeekableByteChannel): ByteBuffer {
            val length = minOf(channel.size(), (END_RECORD + MAX_COMMENT).toLong()).toInt()
            val tail = channel.slice(channel.size() - length, length)
            val at =
                (length - END_RECORD downTo 0).firstOrNull {
                    tail.getInt(it) == END_MAGIC && it + END_RECORD + tail.unsignedShort(it + 20) == length
                } ?: throw IOException("not a ZIP file")
            return tail.part(at, END_RECORD)
        }

        private fun entries(directory: ByteBuffer, count: Int): Map<String, Entry> {
            val found = HashMap<String, Entry>()
            var at = 0
            repeat(count) {
                if (at + CENTRAL_HEADER > directory.limit() || directory.getInt(at) != CENTRAL_MAGIC) {
                    throw IOException("damaged ZIP directory")
                }
                val nameLength = directory.unsignedShort(at + 28)
                val next =
                    at + CENTRAL_HEADER + nameLength + directory.unsignedShort(at + 30) +
                        directory.unsignedShort(at + 32)
                if (next > directory.limit()) throw IOException("damaged ZIP directory")
                val name = directory.text(at + CENTRAL_HEADER, nameLength)
                if (found.put(name, entry(directory, at)) != null) throw IOException("the name $name repeats")
                at = next
            }
            return found
        }

        private fun entry(directory: ByteBuffer, at: Int): Entry =
            Entry(
                method = directory.unsignedShort(at + 10),
                packed = directory.unsignedInt(at + 20),
                size = directory.unsignedInt(at + 24),
                header = directory.unsignedInt(at + 42),
            )
    }
}
