package com.nexmdm.agent.store

import com.nexmdm.agent.model.Id
import com.nexmdm.agent.net.DeviceAccount
import kotlinx.serialization.Serializable
import java.io.IOException

/**
 * Who the device is to [server], on disk. A new token is saved beside the old one before it is used, and none is ever
 * shown to another server.
 */
public class Account(private val file: DurableFile, private val server: String) : DeviceAccount {
    @Serializable
    private data class Saved(
        val server: String? = null,
        val deviceId: Id? = null,
        val tokens: List<String> = emptyList(),
        val tokenSinceMs: Long = 0,
    )

    @Volatile
    private var saved: Saved = load()

    override val deviceId: Id? get() = saved.deviceId
    override val tokens: List<String> get() = saved.tokens
    public val tokenSinceMs: Long get() = saved.tokenSinceMs

    override fun accepted(token: String) {
        if (saved.tokens.size > 1) keep(saved.copy(tokens = listOf(token)))
    }

    /** @throws IOException if it could not be saved; it must not be used then. */
    public fun enrolled(deviceId: Id, token: String, nowMs: Long): Unit =
        save(Saved(server, deviceId, listOf(token), nowMs))

    /** @throws IOException as [enrolled]. */
    public fun rotated(token: String, nowMs: Long): Unit =
        save(saved.copy(tokens = listOf(token) + saved.tokens.take(1), tokenSinceMs = nowMs))

    private fun save(next: Saved) {
        file.replace(keptJson.encodeToString(Saved.serializer(), next).toByteArray())
        saved = next
    }

    /** Worth remembering, but nothing is lost if the disk is full. */
    private fun keep(next: Saved) {
        try {
            save(next)
        } catch (_: IOException) {
            saved = next
        }
    }

    private fun load(): Saved =
        try {
            keptJson.decodeFromString(Saved.serializer(), String(file.read(), Charsets.UTF_8))
                .takeIf { it.server == null || it.server == server } ?: Saved()
        } catch (_: IllegalArgumentException) {
            Saved()
        } catch (_: IOException) {
            Saved()
        }
}
