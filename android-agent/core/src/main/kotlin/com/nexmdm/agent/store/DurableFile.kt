package com.nexmdm.agent.store

import kotlinx.serialization.json.Json
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardOpenOption.CREATE
import java.nio.file.StandardOpenOption.READ
import java.nio.file.StandardOpenOption.TRUNCATE_EXISTING
import java.nio.file.StandardOpenOption.WRITE

/** What is on the disk was written by this or an earlier version of the agent, which may have known more or less. */
internal val keptJson: Json =
    Json {
        ignoreUnknownKeys = true
        explicitNulls = false
    }

/** A small file whose every change is on the disk before the call returns. */
public interface DurableFile {
    /** Empty if there is none. */
    public fun read(): ByteArray

    public fun append(bytes: ByteArray)

    public fun truncate(length: Long)

    /** All or nothing, also when the power goes. */
    public fun replace(bytes: ByteArray)
}

public class DiskFile(private val path: Path) : DurableFile {
    override fun read(): ByteArray = if (Files.exists(path)) Files.readAllBytes(path) else ByteArray(0)

    override fun append(bytes: ByteArray): Unit =
        FileChannel.open(path, CREATE, WRITE).use { file ->
            file.position(file.size())
            file.writeAll(bytes)
        }

    override fun truncate(length: Long): Unit =
        FileChannel.open(path, CREATE, WRITE).use { file ->
            file.truncate(length)
            file.force(true)
        }

    override fun replace(bytes: ByteArray) {
        val next = path.resolveSibling("${path.fileName}.new")
        FileChannel.open(next, CREATE, WRITE, TRUNCATE_EXISTING).use { it.writeAll(bytes) }
        Files.move(next, path, ATOMIC_MOVE)
        syncFolder()
    }

    private fun FileChannel.writeAll(bytes: ByteArray) {
        val left = ByteBuffer.wrap(bytes)
        while (left.hasRemaining()) write(left)
        force(true)
    }

    /** Not every file system lets a folder be opened; the move itself was atomic either way. */
    private fun syncFolder() {
        try {
            FileChannel.open(path.toAbsolutePath().parent, READ).use { it.force(true) }
        } catch (_: IOException) {
            return
        }
    }
}
