package com.nexmdm.agent.harness

import com.nexmdm.agent.store.DurableFile
import java.io.IOException

/** A file in memory: a kill in the middle of an append leaves half a line, [fullAt] is the write that finds no room. */
class MemoryFile(
    private val fuse: Fuse = Fuse(),
    var bytes: ByteArray = ByteArray(0),
) : DurableFile {
    var writes = 0
        private set
    var fullAt = Int.MAX_VALUE
    var fullFor = 1

    override fun read(): ByteArray = bytes

    override fun append(bytes: ByteArray) {
        fuse.touch()
        val before = this.bytes
        this.bytes = before + bytes.copyOf(bytes.size / 2)
        fuse.touch()
        room()
        this.bytes = before + bytes
        fuse.touch()
    }

    override fun truncate(length: Long): Unit = fuse.around { bytes = bytes.copyOf(length.toInt()) }

    override fun replace(bytes: ByteArray) {
        fuse.touch()
        room()
        this.bytes = bytes
        fuse.touch()
    }

    private fun room() {
        writes++
        if (writes in fullAt until fullAt + fullFor) throw IOException("no space left on device")
    }
}
