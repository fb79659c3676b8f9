package com.nexmdm.agent.apk

import java.io.IOException
import java.nio.ByteBuffer

/** The string table of binary XML, UTF-8 or UTF-16. */
internal object StringPool {
    private const val UTF8_FLAG = 0x100

    fun read(chunk: ByteBuffer): List<String> {
        if (chunk.limit() < 28) throw IOException("damaged string pool")
        val count = chunk.getInt(8)
        val utf8 = chunk.getInt(16) and UTF8_FLAG != 0
        val strings = chunk.getInt(20)
        val header = chunk.unsignedShort(2)
        if (count < 0 || header + count * 4L > chunk.limit()) throw IOException("damaged string pool")
        return List(count) { index ->
            val at = strings.toLong() + chunk.unsignedInt(header + index * 4)
            if (at !in 0..chunk.limit() - 2L) throw IOException("a string outside its pool")
            if (utf8) utf8(chunk, at.toInt()) else utf16(chunk, at.toInt())
        }
    }

    /** First its length in characters, which does not matter here, then in bytes; each in one or two bytes. */
    private fun utf8(chunk: ByteBuffer, start: Int): String {
        val at = start + if (chunk.get(start) < 0) 2 else 1
        val high = chunk.part(at, 2).get(0).toInt() and 0xff
        if (high < 0x80) return chunk.text(at + 1, high)
        return chunk.text(at + 2, ((high and 0x7f) shl 8) or (chunk.get(at + 1).toInt() and 0xff))
    }

    private fun utf16(chunk: ByteBuffer, start: Int): String {
        val short = chunk.unsignedShort(start)
        if (short and 0x8000 == 0) return wide(chunk, start + 2, short)
        val low = chunk.part(start + 2, 2).unsignedShort(0)
        return wide(chunk, start + 4, ((short and 0x7fff) shl 16) or low)
    }

    private fun wide(chunk: ByteBuffer, at: Int, length: Int): String {
        if (length > chunk.limit() / 2) throw IOException("a string outside its pool")
        return Charsets.UTF_16LE.decode(chunk.part(at, length * 2)).toString()
    }
}
