package com.nexmdm.agent.harness

import com.nexmdm.agent.apk.toHex
import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import java.util.zip.CRC32

fun sha256(bytes: ByteArray): String = MessageDigest.getInstance("SHA-256").digest(bytes).toHex()

/** One signing block: certificates of each signer, and for v3 the Android versions and the lineage. */
class Scheme(val id: Int, val signers: List<Signer>) {
    class Signer(
        val certificate: ByteArray,
        val sdk: IntRange? = null,
        val lineage: List<ByteArray> = emptyList(),
    )

    companion object {
        fun v2(vararg certificates: ByteArray) = Scheme(0x7109871a, certificates.map { Signer(it) })

        fun v3(certificate: ByteArray, sdk: IntRange = 28..Int.MAX_VALUE, lineage: List<ByteArray> = emptyList()) =
            Scheme(-0xfac9740, listOf(Signer(certificate, sdk, lineage)))

        fun v31(certificate: ByteArray, sdk: IntRange = 33..Int.MAX_VALUE, lineage: List<ByteArray> = emptyList()) =
            Scheme(0x1b93ad61, listOf(Signer(certificate, sdk, lineage)))
    }
}

/** Writes APKs whose form is right and whose signatures are empty: the reader under test reads, it does not verify. */
object ApkFactory {
    val signerA = "certificate of signer A".toByteArray()
    val signerB = "certificate of signer B".toByteArray()

    fun apk(
        packageName: String = "com.nexmdm",
        versionCode: Int = 121,
        filler: Int = 1000,
        minSdk: Int = 26,
        schemes: List<Scheme> = listOf(Scheme.v2(signerA)),
        utf8: Boolean = false,
    ): ByteArray {
        val manifest = BinaryXml.manifest(packageName, versionCode, "1.0.$versionCode", minSdk, utf8)
        val body = ByteArrayOutputStream()
        val entries =
            listOf(
                "AndroidManifest.xml" to manifest,
                "assets/filler" to ByteArray(filler) { (it * 31 + versionCode).toByte() },
            )
        val offsets = entries.map { (name, bytes) -> body.size().also { body.write(local(name, bytes)) } }
        if (schemes.isNotEmpty()) body.write(block(schemes))
        val directoryStart = body.size()
        entries.forEachIndexed { i, (name, bytes) -> body.write(central(name, bytes, offsets[i])) }
        body.write(end(entries.size, body.size() - directoryStart, directoryStart))
        return body.toByteArray()
    }

    private fun local(name: String, bytes: ByteArray): ByteArray =
        little(30 + name.length + bytes.size) {
            putInt(0x04034b50).putShort(20).putShort(0).putShort(0).putInt(0)
            putInt(crc(bytes)).putInt(bytes.size).putInt(bytes.size).putShort(name.length.toShort()).putShort(0)
            put(name.toByteArray()).put(bytes)
        }

    private fun central(name: String, bytes: ByteArray, at: Int): ByteArray =
        little(46 + name.length) {
            putInt(0x02014b50).putShort(20).putShort(20).putShort(0).putShort(0).putInt(0)
            putInt(crc(bytes)).putInt(bytes.size).putInt(bytes.size).putShort(name.length.toShort())
            putShort(0).putShort(0).putShort(0).putShort(0).putInt(0).putInt(at)
            put(name.toByteArray())
        }

    private fun end(count: Int, size: Int, start: Int): ByteArray =
        little(22) {
            putInt(0x06054b50).putShort(0).putShort(0).putShort(count.toShort()).putShort(count.toShort())
            putInt(size).putInt(start).putShort(0)
        }

    private fun block(schemes: List<Scheme>): ByteArray {
        val pairs = ByteArrayOutputStream()
        for (scheme in schemes) {
            val value = prefixed(scheme.signers.map(::signer).reduce(ByteArray::plus))
            pairs.write(little(12 + value.size) { putLong(value.size + 4L).putInt(scheme.id).put(value) })
        }
        val size = pairs.size() + 24L
        return little(pairs.size() + 32) {
            putLong(size).put(pairs.toByteArray()).putLong(size).put("APK Sig Block 42".toByteArray())
        }
    }

    private fun signer(signer: Scheme.Signer): ByteArray {
        val digests = prefixed(ByteArray(0))
        val certificates = prefixed(prefixed(signer.certificate))
        val sdk = signer.sdk?.let { little(8) { putInt(it.first).putInt(it.last) } } ?: ByteArray(0)
        val signed = prefixed(digests + certificates + sdk + attributes(signer.lineage))
        return prefixed(signed + sdk + prefixed(ByteArray(0)) + prefixed(ByteArray(0)))
    }

    private fun attributes(lineage: List<ByteArray>): ByteArray {
        if (lineage.isEmpty()) return prefixed(ByteArray(0))
        val nodes =
            lineage.map { prefixed(prefixed(prefixed(it) + ByteArray(4)) + ByteArray(8) + prefixed(ByteArray(0))) }
        val rotation = little(8) { putInt(0x3ba06f8c).putInt(1) } + nodes.reduce(ByteArray::plus)
        return prefixed(prefixed(rotation))
    }

    private fun prefixed(bytes: ByteArray): ByteArray = little(4 + bytes.size) { putInt(bytes.size).put(bytes) }

    private fun crc(bytes: ByteArray): Int = CRC32().apply { update(bytes) }.value.toInt()
}

internal fun little(size: Int, fill: ByteBuffer.() -> Unit): ByteArray =
    ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN).apply(fill).array()
