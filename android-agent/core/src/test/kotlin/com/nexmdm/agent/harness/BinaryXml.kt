package com.nexmdm.agent.harness

import java.io.ByteArrayOutputStream

/** The few chunks of a compiled AndroidManifest.xml that say who it is. */
internal object BinaryXml {
    private val resources = listOf(0x0101021b, 0x0101021c, 0x0101020c)

    fun manifest(packageName: String, versionCode: Int, versionName: String, minSdk: Int, utf8: Boolean): ByteArray {
        val strings =
            listOf(
                "versionCode",
                "versionName",
                "minSdkVersion",
                "package",
                "manifest",
                "uses-sdk",
                packageName,
                versionName,
            )
        val chunks =
            pool(strings, utf8) + resourceMap() +
                element(4, listOf(attribute(0, 0x10, versionCode), attribute(1, 3, 7), attribute(3, 3, 6))) +
                element(5, listOf(attribute(2, 0x10, minSdk)))
        return little(8) { putShort(3).putShort(8).putInt(8 + chunks.size) } + chunks
    }

    private fun pool(strings: List<String>, utf8: Boolean): ByteArray {
        val data = ByteArrayOutputStream()
        val offsets =
            strings.map { text ->
                data.size().also { data.write(if (utf8) short(text) else wide(text)) }
            }
        while (data.size() % 4 != 0) data.write(0)
        val start = 28 + 4 * strings.size
        return little(start + data.size()) {
            putShort(1).putShort(28).putInt(start + data.size())
            putInt(strings.size).putInt(0).putInt(if (utf8) 0x100 else 0).putInt(start).putInt(0)
            offsets.forEach(::putInt)
            put(data.toByteArray())
        }
    }

    private fun short(text: String): ByteArray {
        val bytes = text.toByteArray()
        return length(text.length) + length(bytes.size) + bytes + 0
    }

    private fun length(n: Int): ByteArray =
        if (n < 0x80) byteArrayOf(n.toByte()) else byteArrayOf((0x80 or (n shr 8)).toByte(), n.toByte())

    private fun wide(text: String): ByteArray =
        little(4 + text.length * 2) {
            putShort(text.length.toShort()).put(text.toByteArray(Charsets.UTF_16LE)).putShort(0)
        }

    private fun resourceMap(): ByteArray =
        little(8 + 4 * resources.size) {
            putShort(0x180).putShort(8).putInt(8 + 4 * resources.size)
            resources.forEach(::putInt)
        }

    private fun element(name: Int, attributes: List<ByteArray>): ByteArray =
        little(36 + 20 * attributes.size) {
            putShort(0x102).putShort(16).putInt(36 + 20 * attributes.size).putInt(1).putInt(-1)
            putInt(-1).putInt(name).putShort(20).putShort(20).putShort(attributes.size.toShort())
            putShort(0).putShort(0).putShort(0)
            attributes.forEach(::put)
        }

    private fun attribute(name: Int, type: Int, data: Int): ByteArray =
        little(20) {
            putInt(-1).putInt(name).putInt(if (type == 3) data else -1)
            putShort(8).put(0).put(type.toByte()).putInt(data)
        }
}
