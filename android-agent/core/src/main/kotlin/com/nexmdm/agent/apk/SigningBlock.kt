package com.nexmdm.agent.apk

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.SeekableByteChannel

/** The APK Signing Block in front of the central directory: schemes v2, v3 and v3.1. */
internal object SigningBlock {
    private const val MAGIC_LOW = 0x20676953204b5041L
    private const val MAGIC_HIGH = 0x3234206b636f6c42L
    private const val V2 = 0x7109871a
    private const val V3 = -0xfac9740
    private const val V31 = 0x1b93ad61
    private const val LINEAGE = 0x3ba06f8c
    private const val FOOTER = 24
    private const val MAX_BLOCK = 16L * 1024 * 1024
    private const val MAX_SIGNERS = 10
    private const val MAX_NODES = 100

    /** The signers that a device of [sdkInt] goes by: v3.1 from 33, v3 from 28, else v2. */
    fun signers(channel: SeekableByteChannel, directoryStart: Long, sdkInt: Int): ApkSigners {
        val blocks = blocks(channel, directoryStart)
        val v31 = blocks[V31]?.takeIf { sdkInt >= 33 }?.let { v3Signers("v3.1", it, sdkInt) }
        val v3 = blocks[V3]?.takeIf { sdkInt >= 28 }
        val v2 = blocks[V2]
        return v31
            ?: v3?.let { v3Signers("v3", it, sdkInt) ?: throw IOException("no v3 signer for this Android version") }
            ?: v2?.let(::v2Signers)
            ?: throw IOException("no APK signature of scheme v2 or v3")
    }

    private fun blocks(channel: SeekableByteChannel, directoryStart: Long): Map<Int, ByteBuffer> {
        if (directoryStart < FOOTER + 8) throw IOException("no APK signing block")
        val footer = channel.slice(directoryStart - FOOTER, FOOTER)
        val isOne = footer.getLong(8) == MAGIC_LOW && footer.getLong(16) == MAGIC_HIGH
        if (!isOne) throw IOException("no APK signing block")
        val size = footer.getLong(0)
        val fits = size in FOOTER..MAX_BLOCK && size + 8 <= directoryStart
        if (!fits) throw IOException("the signing block is out of bounds")
        val block = channel.slice(directoryStart - size - 8, size.toInt() + 8)
        if (block.getLong(0) != size) throw IOException("the two sizes of the signing block differ")
        return pairs(block.part(8, size.toInt() - FOOTER))
    }

    private fun pairs(block: ByteBuffer): Map<Int, ByteBuffer> {
        val found = HashMap<Int, ByteBuffer>()
        while (block.hasRemaining()) {
            val length = block.getLong()
            if (length !in 4..block.remaining()) throw IOException("damaged signing block")
            val id = block.getInt()
            val value = block.part(block.position(), length.toInt() - 4)
            block.position(block.position() + length.toInt() - 4)
            if (found.put(id, value) != null) throw IOException("a block of the signature repeats")
        }
        return found
    }

    private fun v2Signers(block: ByteBuffer): ApkSigners {
        val certificates = signersOf(block).map { firstCertificate(it.lengthPrefixed().also(::skipDigests)) }
        return ApkSigners("v2", certificates, emptyList())
    }

    /** Null if no signer of this block is meant for [sdkInt]. */
    private fun v3Signers(scheme: String, block: ByteBuffer, sdkInt: Int): ApkSigners? {
        val matching =
            signersOf(block).map { it.lengthPrefixed() }.mapNotNull { signed ->
                skipDigests(signed)
                val certificate = firstCertificate(signed)
                val range = signed.getInt()..signed.getInt()
                if (sdkInt in range) certificate to lineage(signed.lengthPrefixed()) else null
            }
        if (matching.isEmpty()) return null
        return ApkSigners(scheme, matching.map { it.first }, matching.flatMap { it.second })
    }

    private fun signersOf(block: ByteBuffer): List<ByteBuffer> = sequence(block.lengthPrefixed(), MAX_SIGNERS)

    private fun skipDigests(signed: ByteBuffer) {
        signed.lengthPrefixed()
    }

    private fun firstCertificate(signed: ByteBuffer): String {
        val certificates = signed.lengthPrefixed()
        if (!certificates.hasRemaining()) throw IOException("a signer without a certificate")
        return sha256Hex(certificates.lengthPrefixed())
    }

    private fun lineage(attributes: ByteBuffer): List<String> {
        val rotation = sequence(attributes, MAX_NODES).firstOrNull { it.getInt() == LINEAGE } ?: return emptyList()
        rotation.getInt()
        return sequence(rotation, MAX_NODES).map { node -> sha256Hex(node.lengthPrefixed().lengthPrefixed()) }
    }

    private fun sequence(block: ByteBuffer, limit: Int): List<ByteBuffer> {
        val parts = mutableListOf<ByteBuffer>()
        while (block.hasRemaining()) {
            if (parts.size == limit) throw IOException("too many parts in the signature")
            parts += block.lengthPrefixed()
        }
        return parts
    }
}
