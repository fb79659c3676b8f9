package com.nexmdm.agent.sim

import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.ScheduledExecutorService
import java.util.concurrent.ScheduledThreadPoolExecutor
import kotlin.random.Random

/** Many agents on a few threads: each runs when it is due and lets go of its thread when it has to wait. */
internal class Fleet(private val options: Options, private val journal: Lines = Lines(::println)) : AutoCloseable {
    private val threads: ScheduledExecutorService =
        ScheduledThreadPoolExecutor(options.devices.coerceIn(2, MAX_THREADS)) { work ->
            Thread(null, work, "agent", STACK_BYTES).apply { isDaemon = true }
        }.apply { removeOnCancelPolicy = true }

    fun start() {
        Files.createDirectories(options.state)
        val name = fleetName(options.state.resolve("fleet"))
        repeat(options.devices) { SimAgent(it, "$name-%05d".format(it), options, threads, journal).start() }
    }

    override fun close() {
        threads.shutdownNow()
    }

    /** Serials are the device's for ever, so they live with the rest of its state. */
    private fun fleetName(file: Path): String {
        if (!Files.exists(file)) Files.writeString(file, "KSIM%06X".format(Random.nextInt(1 shl 24)))
        return Files.readString(file).trim()
    }

    companion object {
        const val MAX_THREADS = 16
        const val STACK_BYTES = 512L * 1024
    }
}

/** One JSON object per line; nulls are left out. */
internal class Lines(private val write: (String) -> Unit) {
    @Synchronized
    fun say(vararg fields: Pair<String, Any?>) {
        val known = fields.mapNotNull { (name, value) -> value?.let { name to primitive(it) } }
        write(JsonObject(known.toMap()).toString())
    }

    private fun primitive(value: Any): JsonPrimitive =
        if (value is Number) JsonPrimitive(value) else JsonPrimitive(value.toString())
}
