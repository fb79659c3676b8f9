package com.nexmdm.agent.store

import com.nexmdm.agent.engine.Event
import com.nexmdm.agent.engine.Reducer
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.harness.MemoryFile
import com.nexmdm.agent.harness.RandomEvents
import net.jqwik.api.ForAll
import net.jqwik.api.Property
import net.jqwik.api.constraints.LongRange
import java.io.IOException
import java.nio.file.Files
import java.time.Instant
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class JournalTest {
    private val reducer = Reducer("com.nexmdm", 34)

    private fun history(events: List<Event>): List<State> =
        events.runningFold(State()) { state, event -> reducer.reduce(state, event, Instant.EPOCH).state }

    private fun written(states: List<State>, file: MemoryFile = MemoryFile()): MemoryFile {
        val journal = Journal(file)
        journal.load()
        states.zipWithNext { old, new -> journal.record(old, new) }
        return file
    }

    @Property(tries = 300)
    fun `what was written is what is read`(
        @ForAll @LongRange(min = 0, max = 1_000_000) seed: Long,
    ) {
        val states = history(RandomEvents(Random(seed)).list(80))
        assertEquals(states.last(), Journal(written(states)).load())
    }

    @Test
    fun `cut at every byte it reads as one of the states that were`() {
        val states = history(RandomEvents(Random(5)).list(40))
        val whole = written(states).bytes
        for (length in 0..whole.size) {
            val file = MemoryFile().apply { bytes = whole.copyOf(length) }
            val journal = Journal(file)
            val read = journal.load()
            assertTrue(read in states, "cut at $length")
            val next = read.copy(nextReport = read.nextReport + 1)
            journal.record(read, next)
            assertEquals(next, Journal(file).load(), "what is written behind a cut at $length is read")
        }
    }

    @Property(tries = 300)
    fun `a flipped byte costs what follows, never more`(
        @ForAll @LongRange(min = 0, max = 1_000_000) seed: Long,
        @ForAll byte: Byte,
    ) {
        val states = history(RandomEvents(Random(seed)).list(30))
        val file = written(states)
        if (file.bytes.isEmpty()) return
        file.bytes[Random(seed).nextInt(file.bytes.size)] = byte
        assertTrue(Journal(file).load() in states)
    }

    @Test
    fun `a write that fails leaves no trace, and the next one works`() {
        val states = history(RandomEvents(Random(7)).list(40)).distinct()
        for (failing in 1 until states.size) {
            val file = MemoryFile().apply { fullAt = failing }
            val journal = Journal(file)
            var state = journal.load()
            for (next in states.drop(1)) {
                try {
                    journal.record(state, next)
                    state = next
                } catch (_: IOException) {
                    assertEquals(state, Journal(file).load())
                }
            }
            assertEquals(state, Journal(file).load())
        }
    }

    @Test
    fun `it does not grow for ever`() {
        val file = MemoryFile()
        val journal = Journal(file)
        var state = journal.load()
        for (event in RandomEvents(Random(3)).list(6_000)) {
            val next = reducer.reduce(state, event, Instant.EPOCH).state
            journal.record(state, next)
            state = next
        }
        assertTrue(file.bytes.size < 1_000_000, "${file.bytes.size}")
        assertEquals(state, Journal(file).load())
    }

    @Test
    fun `a line of a later version is not guessed at`() {
        val file = written(history(RandomEvents(Random(5)).list(10)))
        val before = Journal(file).load()
        val line = """{"v":2,"next":99,"idle":true}"""
        val crc = java.util.zip.CRC32().apply { update(line.toByteArray()) }.value.toString(16).padStart(8, '0')
        file.bytes += "$crc $line\n".toByteArray()
        assertEquals(before, Journal(file).load())
    }

    @Test
    fun `a file on disk appends, cuts and replaces`() {
        val folder = Files.createTempDirectory("journal")
        val file = DiskFile(folder.resolve("j"))
        assertContentEquals(ByteArray(0), file.read())
        file.append("ab".toByteArray())
        file.append("cd".toByteArray())
        file.truncate(3)
        assertEquals("abc", String(file.read()))
        file.replace("x".toByteArray())
        assertEquals("x", String(file.read()))
        assertEquals(listOf("j"), folder.toFile().list()?.toList())
        assertFailsWith<IOException> { DiskFile(folder.resolve("none/j")).append(ByteArray(1)) }
        folder.toFile().deleteRecursively()
    }
}
