package com.nexmdm.agent.apk

import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder

internal data class ManifestFacts(
    val packageName: String,
    val versionCode: Long,
    val versionName: String?,
    val minSdk: Int,
) {
    fun withSigners(signers: ApkSigners): ApkFacts = ApkFacts(packageName, versionCode, versionName, minSdk, signers)
}

/** Reads the few attributes that matter from a binary AndroidManifest.xml. */
internal object ManifestReader {
    private const val XML = 0x0003
    private const val STRINGS = 0x0001
    private const val RESOURCE_IDS = 0x0180
    private const val START_ELEMENT = 0x0102
    private const val VERSION_CODE = 0x0101021b
    private const val VERSION_NAME = 0x0101021c
    private const val MIN_SDK = 0x0101020c
    private const val VERSION_CODE_MAJOR = 0x01010576
    private const val TYPE_STRING = 3
    private const val TYPE_INT_DEC = 0x10
    private const val TYPE_INT_HEX = 0x11

    private class Attribute(val name: String, val resource: Int?, val type: Int, val data: Int)

    private class Document {
        var strings: List<String> = emptyList()
        var resources: List<Int> = emptyList()
        val elements = mutableListOf<Pair<String, List<Attribute>>>()

        fun string(index: Int): String = strings.getOrNull(index) ?: throw IOException("a name outside the string pool")
    }

    fun read(xml: ByteBuffer): ManifestFacts {
        xml.order(ByteOrder.LITTLE_ENDIAN)
        if (xml.limit() < 8 || xml.unsignedShort(0) != XML) throw IOException("the manifest is not binary XML")
        return facts(document(xml))
    }

    private fun facts(document: Document): ManifestFacts {
        val manifest =
            document.elements.firstOrNull { it.first == "manifest" }?.second ?: throw IOException("no manifest")
        val uses = document.elements.firstOrNull { it.first == "uses-sdk" }?.second.orEmpty()
        if (int(manifest, VERSION_CODE_MAJOR, 0) != 0) throw IOException("a versionCodeMajor")
        return ManifestFacts(
            packageName = text(document, manifest.firstOrNull { it.resource == null && it.name == "package" })
                ?: throw IOException("no package name"),
            versionCode = int(manifest, VERSION_CODE, 0).toLong(),
            versionName = text(document, manifest.firstOrNull { it.resource == VERSION_NAME }),
            minSdk = int(uses, MIN_SDK, 1),
        )
    }

    private fun int(attributes: List<Attribute>, resource: Int, absent: Int): Int {
        val found = attributes.firstOrNull { it.resource == resource } ?: return absent
        if (found.type != TYPE_INT_DEC && found.type != TYPE_INT_HEX) throw IOException("a number was expected")
        return found.data
    }

    private fun text(document: Document, found: Attribute?): String? =
        found?.takeIf { it.type == TYPE_STRING }?.let { document.string(it.data) }

    private fun document(xml: ByteBuffer): Document {
        val document = Document()
        var at = xml.unsignedShort(2)
        while (at + 8 <= xml.limit()) {
            val size = xml.getInt(at + 4)
            if (size < 8) throw IOException("damaged manifest")
            take(document, xml.unsignedShort(at), xml.part(at, size))
            at += size
        }
        return document
    }

    private fun take(document: Document, type: Int, chunk: ByteBuffer) {
        when (type) {
            STRINGS -> document.strings = StringPool.read(chunk)
            RESOURCE_IDS -> document.resources = ints(chunk, chunk.unsignedShort(2))
            START_ELEMENT -> document.elements += element(document, chunk)
        }
    }

    private fun ints(chunk: ByteBuffer, start: Int): List<Int> =
        (start until chunk.limit() - 3 step 4).map { chunk.getInt(it) }

    private fun element(document: Document, chunk: ByteBuffer): Pair<String, List<Attribute>> {
        if (chunk.limit() < 36) throw IOException("damaged element")
        val first = 16 + chunk.unsignedShort(24)
        val step = chunk.unsignedShort(26)
        val count = chunk.unsignedShort(28)
        if (step < 20 && count > 0) throw IOException("damaged attributes")
        return document.string(chunk.getInt(20)) to
            List(count) { attribute(document, chunk.part(first + it * step, 20)) }
    }

    private fun attribute(document: Document, raw: ByteBuffer): Attribute {
        val name = raw.getInt(4)
        return Attribute(
            name = document.string(name),
            resource = document.resources.getOrNull(name)?.takeIf { it != 0 },
            type = raw.get(15).toInt() and 0xff,
            data = raw.getInt(16),
        )
    }
}
