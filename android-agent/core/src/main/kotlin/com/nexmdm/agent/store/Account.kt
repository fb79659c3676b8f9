package com.nexmdm.agent.store

import com.nexmdm.agent.model.Id
import com.nexmdm.agent.net.DeviceAccount
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import java.io.IOException

/** Who the device is to the server, on disk. A new token is saved beside the old one before it is used. */
public class Account(private val file: DurableFile) : DeviceAccount {
    @Serializable
    private data class Saved(
        val deviceId: Id? = null,
        val tokens: List<String> = emptyList(),
        val intervalSec: Int = 60,
        val tokenSinceMs: Long = 0,
    )

    @Volatile
    private var saved: Saved = load()

    override val deviceId: Id? get() = saved.deviceId
    override val tokens: List<String> get() = saved.tokens
    public val intervalSec: Int get() = saved.intervalSec
    public val tokenSinceMs: Long get() = saved.tokenSinceMs

    override fun accepted(token: String) {
        if (saved.tokens.size > 1) keep(saved.copy(tokens = listOf(token)))
    }

    /** @throws IOException if it could not be saved; it must not be used then. */
    public fun enrolled(deviceId: Id, token: String, intervalSec: Int, nowMs: Long): Unit =
        save(Saved(deviceId, listOf(token), intervalSec, nowMs))

    /** @throws IOException as [enrolled]. */
    public fun rotated(token: String, nowMs: Long): Unit =
        save(saved.copy(tokens = listOf(token) + saved.tokens.take(1), tokenSinceMs = nowMs))

    public fun interval(seconds: Int) {
        if (seconds != saved.intervalSec) keep(saved.copy(intervalSec = seconds))
    }

    private fun save(next: Saved) {
        file.replace(Json.encodeToString(Saved.serializer(), next).toByteArray())
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
            Json.decodeFromString(Saved.serializer(), String(file.read(), Charsets.UTF_8))
        } catch (_: IllegalArgumentException) {
            Saved()
        } catch (_: IOException) {
            Saved()
        }
}
