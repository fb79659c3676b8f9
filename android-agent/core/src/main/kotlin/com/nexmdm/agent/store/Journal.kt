package com.nexmdm.agent.store

import com.nexmdm.agent.engine.Finished
import com.nexmdm.agent.engine.Job
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.model.Report
import kotlinx.serialization.Serializable
import java.io.IOException
import java.util.zip.CRC32

/** What one event changed. Lines of it, read from the first to the last good one, are the state. */
@Serializable
internal data class Change(
    val v: Int = VERSION,
    val job: Job? = null,
    val idle: Boolean = false,
    val put: List<Report> = emptyList(),
    val drop: List<Long> = emptyList(),
    val done: List<Finished> = emptyList(),
    val removed: Set<String>? = null,
    val next: Long,
) {
    fun on(state: State): State =
        State(
            job = if (idle) null else job ?: state.job,
            outbox = state.outbox.filterNot { it.id in drop } + put,
            finished = (state.finished + done).takeLast(State.MAX_FINISHED),
            removed = removed ?: state.removed,
            nextReport = next,
        )

    companion object {
        const val VERSION = 1

        fun between(old: State, new: State): Change {
            val before = old.outbox.mapTo(HashSet()) { it.id }
            val after = new.outbox.mapTo(HashSet()) { it.id }
            val last = old.finished.lastOrNull()
            return Change(
                job = new.job.takeIf { it != old.job },
                idle = new.job == null,
                put = new.outbox.filterNot { it.id in before },
                drop = old.outbox.map { it.id }.filterNot { it in after },
                done = new.finished.drop(if (last == null) 0 else new.finished.indexOf(last) + 1),
                removed = new.removed.takeIf { it != old.removed },
                next = new.nextReport,
            )
        }
    }
}

/**
 * The write-ahead log of one agent. A torn or damaged end is cut off at the last good line: the state is then a little
 * older, and the device and the server are asked again. Not for use by two processes.
 */
public class Journal(private val file: DurableFile) {
    private var length = 0L
    private var compactAt = COMPACT_BYTES

    public fun load(): State {
        val bytes = file.read()
        var state = State()
        var good = 0
        while (good < bytes.size) {
            val end = bytes.indexOf('\n'.code.toByte(), good)
            val change = if (end < 0) null else parse(String(bytes, good, end - good, Charsets.UTF_8))
            if (change == null) break
            state = change.on(state)
            good = end + 1
        }
        length = good.toLong()
        if (good < bytes.size) file.truncate(length)
        return state
    }

    /** On the disk when it returns. @throws IOException if it could not be written; the file is as before then. */
    public fun record(old: State, new: State) {
        if (old == new) return
        val line = line(Change.between(old, new))
        try {
            file.append(line)
        } catch (e: IOException) {
            file.truncate(length)
            throw e
        }
        length += line.size
        if (length > compactAt) compact(new)
    }

    private fun compact(state: State) {
        val whole = line(Change.between(State(), state))
        compactAt = maxOf(COMPACT_BYTES, whole.size * 2L)
        try {
            file.replace(whole)
            length = whole.size.toLong()
        } catch (_: IOException) {
            // The long log is as good as the short one; the next record tries again.
            return
        }
    }

    private fun line(change: Change): ByteArray {
        val text = keptJson.encodeToString(Change.serializer(), change)
        return "${crc(text)} $text\n".toByteArray()
    }

    private fun parse(line: String): Change? {
        if (line.length < CRC_DIGITS + 2 || line.take(CRC_DIGITS) != crc(line.drop(CRC_DIGITS + 1))) return null
        return try {
            keptJson.decodeFromString(Change.serializer(), line.drop(CRC_DIGITS + 1)).takeIf { it.v <= Change.VERSION }
        } catch (_: IllegalArgumentException) {
            null
        }
    }

    private fun crc(text: String): String {
        val sum = CRC32().apply { update(text.toByteArray()) }.value
        return sum.toString(16).padStart(CRC_DIGITS, '0')
    }

    private fun ByteArray.indexOf(byte: Byte, from: Int): Int = (from until size).firstOrNull { this[it] == byte } ?: -1

    private companion object {
        const val CRC_DIGITS = 8
        const val COMPACT_BYTES = 256L * 1024
    }
}
