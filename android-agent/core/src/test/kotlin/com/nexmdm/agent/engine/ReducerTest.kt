package com.nexmdm.agent.engine

import com.nexmdm.agent.harness.RandomEvents
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.proto.Confirmation
import net.jqwik.api.ForAll
import net.jqwik.api.Property
import net.jqwik.api.constraints.LongRange
import java.time.Instant
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertSame
import kotlin.test.assertTrue

class ReducerTest {
    private val reducer = Reducer("com.nexmdm", 34)
    private val command = RandomEvents(Random(1)).command()
    private val key = command.key
    private val before = InstalledPackage("com.shop.till", 120, "0", setOf("a".repeat(64)), updatedAt = 1)
    private val after = before.copy(versionCode = 121, updatedAt = 2)

    private fun state(phase: Phase) = State(job = Job(key, phase, seq = 3))

    private fun reduce(state: State, event: Event) = reducer.reduce(state, event, Instant.EPOCH)

    @Property(tries = 500)
    fun `whatever happens in whatever order`(
        @ForAll @LongRange(min = 0, max = 1_000_000) seed: Long,
    ) {
        var state = State()
        for (event in RandomEvents(Random(seed)).list(200)) {
            val step = reduce(state, event)
            val ended = state.job?.takeIf { it.key != step.state.job?.key }
            if (ended != null) assertEndedWell(ended, state, step)
            assertTrue(step.state.outbox.size <= 500)
            assertTrue((step.state.job?.phase as? Phase.InSession)?.session !in step.abandon)
            assertTrue(step.state.job?.let { it.due() != null } ?: true, "a job with nothing due")
            assertCommitIsLast(state, event, step)
            state = step.state
        }
    }

    /** The device is touched only straight after the last look at it, or to end what this agent began. */
    private fun assertCommitIsLast(old: State, event: Event, step: Step) {
        val (from, to) = old.job?.phase to step.state.job?.phase
        val removes = to is Phase.Removing && from !is Phase.Removing
        val commits = to is Phase.Committing && from !is Phase.Committing
        if (!removes && !commits) return
        val isLooked = from is Phase.Rechecking && event is Event.Probed
        assertTrue(isLooked || "com.shop.till" in old.removed, "$from, $event")
    }

    /** A job that ends leaves one final report and no session. */
    private fun assertEndedWell(job: Job, old: State, step: Step) {
        if ((job.phase as? Phase.Asking)?.again == true && step.state.finished == old.finished) return
        val last = step.state.finished.last().report
        assertEquals(job.key, last.key)
        assertTrue(last.status.isFinal)
        assertTrue(last in step.state.outbox && last !in old.outbox)
        (job.phase as? Phase.InSession)?.let { assertTrue(it.session in step.abandon) }
    }

    @Test
    fun `an order that is over here waits for the server to hear so, then for its word that it stands`() {
        val ended = reduce(state(Phase.Asking()), Event.Confirmed(key, Confirmation.Gone("kill_switch"))).state
        assertEquals("kill_switch", ended.finished.single().report.errorCode)
        assertSame(ended, reduce(ended, Event.Ordered(key)).state)
        val delivered = reduce(ended, Event.Delivered(ended.outbox.last().id)).state
        val again = reduce(delivered, Event.Ordered(key))
        assertEquals(listOf(Effect.Confirm(key)) to emptyList(), again.effects to again.state.outbox)
        val restarted = reduce(again.state, Event.Started(emptyMap())).state
        assertEquals(again.state, restarted)
        for (no in listOf(Confirmation.Gone("over"), Confirmation.Refused(404))) {
            assertEquals(delivered, reduce(again.state, Event.Confirmed(key, no)).state)
        }
        val stands = reduce(again.state, Event.Confirmed(key, Confirmation.Stands(command, null, null))).state
        assertEquals(listOf(Status.RECEIVED to 5), stands.outbox.map { it.status to it.seq })
        assertEquals(Phase.Checking(command), stands.job?.phase)
    }

    @Test
    fun `of what is over the server is asked only so often`() {
        var state = reduce(over(), Event.Ordered(key)).state
        repeat(100) { state = reduce(state, Event.Confirmed(key, Confirmation.Unreachable())).state }
        assertEquals(over(), state)
    }

    @Test
    fun `only a higher attempt is news`() {
        for ((attempt, told) in listOf(0 to 0, 1 to 0, 2 to 1)) {
            val begun = reduce(over(), Event.Ordered(JobKey(key.deployment, attempt))).state
            assertEquals(attempt to told, begun.job?.key?.attempt to begun.outbox.size)
        }
    }

    private fun over(): State {
        val report = Report(1, key, 4, Status.SUCCEEDED, Instant.EPOCH)
        return State(finished = listOf(Finished(report, Instant.EPOCH)), nextReport = 2)
    }

    @Test
    fun `a forged or foreign order never displaces the current job`() {
        val downloading = state(Phase.Downloading(command, 1, offset = 5))
        val step = reduce(downloading, Event.Ordered(JobKey(Id("other"), 1)))
        assertEquals(key, step.state.job?.key)
        assertEquals(listOf(Effect.Confirm(key)), step.effects)
        assertSame(downloading.job, reduce(downloading, Event.Ordered(key)).state.job)
    }

    @Test
    fun `once committed nothing calls it off`() {
        val watching = state(Phase.Watching(command, 1))
        for (event in listOf(
            Event.Poked,
            Event.Confirmed(key, Confirmation.Gone("x")),
            Event.Ordered(JobKey(Id("o"), 1)),
        )) {
            assertEquals(watching, reduce(watching, event).state)
        }
    }

    @Test
    fun `success is what is installed, not what was said`() {
        val said = reduce(state(Phase.Watching(command, 1)), Event.Said(1, InstallVerdict.Done)).state
        val lied = reduce(said, Event.Looked(1, SessionState.GONE, before)).state.finished.single().report
        assertEquals("result_mismatch", lied.errorCode)
        val done = reduce(said, Event.Looked(1, SessionState.GONE, after)).state.finished.single().report
        assertEquals(Status.SUCCEEDED to 121L, done.status to done.installed?.versionCode)
        val foreign = reduce(said, Event.Looked(1, SessionState.GONE, after.copy(signers = setOf("c".repeat(64)))))
        assertEquals("result_mismatch", foreign.state.finished.single().report.errorCode)
    }

    @Test
    fun `a word after the end changes nothing`() {
        val ended = reduce(state(Phase.Watching(command, 1)), Event.Said(1, failed())).state
        assertEquals(ended, reduce(ended, Event.Said(1, InstallVerdict.Done)).state)
    }

    private fun failed() = InstallVerdict.Failed(FailureCode.INSTALL_ABORTED, "x")

    @Test
    fun `a person who refuses is told from an install that was aborted`() {
        fun code(person: Person) =
            reduce(state(Phase.Watching(command, 1, person = person)), Event.Said(1, failed()))
                .state.finished.single().report.errorCode
        assertEquals("install_aborted", code(Person.NOT_ASKED))
        assertEquals("user_declined", code(Person.ASKED))
    }

    @Test
    fun `a session that is gone without a word is given a moment`() {
        var state = state(Phase.Watching(command, 1))
        var looks = 0
        while (state.job != null) {
            state = reduce(state, Event.Looked(1, SessionState.GONE, before)).state
            looks++
        }
        assertEquals(3, looks)
        assertEquals("install_aborted", state.finished.single().report.errorCode)
    }

    @Test
    fun `waiting for the platform ends, and so does waiting for a person`() {
        fun end(person: Person): String? {
            var state = state(Phase.Watching(command, 1, person = person))
            repeat(100) { state = reduce(state, Event.Looked(1, SessionState.COMMITTED, before)).state }
            return state.finished.single().report.errorCode
        }
        assertEquals("install_timeout", end(Person.NOT_ASKED))
        assertEquals("not_permitted", end(Person.ASKED))
    }

    @Test
    fun `whatever fails while a package is off the device is an incomplete reinstall`() {
        val removed = state(Phase.Committing(command, 1)).copy(removed = setOf("com.shop.till"))
        val ended = reduce(removed, Event.Said(1, failed())).state
        assertEquals("reinstall_incomplete", ended.finished.single().report.errorCode)
        assertEquals(setOf("com.shop.till"), ended.removed)
    }

    @Test
    fun `an interrupted removal goes on if the package is gone, and asks again if it is not`() {
        val cut = state(Phase.Removing(command, 1)).copy(removed = setOf("com.shop.till"))
        val restarted = reduce(cut, Event.Started(open(1))).state
        assertEquals(Effect.Look(1, "com.shop.till"), restarted.job?.due())
        assertEquals(Effect.Commit(1), reduce(restarted, Event.Looked(1, SessionState.OPEN, null)).state.job?.due())
        val asks = reduce(restarted, Event.Looked(1, SessionState.OPEN, before)).state
        assertEquals(Effect.Confirm(key), asks.job?.due())
        assertEquals(emptySet(), asks.removed)
    }

    private fun open(vararg sessions: Int) = sessions.associateWith { SessionState.OPEN }

    @Test
    fun `a session that was committed is watched, whatever the journal has lost`() {
        val committed = Event.Started(mapOf(1 to SessionState.COMMITTED))
        val before = listOf(Phase.Downloading(command, 1), Phase.Verifying(command, 1), Phase.Rechecking(command, 1))
        for (phase in before) {
            val step = reduce(state(phase), committed)
            assertEquals(Effect.Look(1, "com.shop.till"), step.state.job?.due())
            assertEquals(emptySet(), step.abandon)
        }
    }

    @Test
    fun `a start forgets sessions that nobody needs`() {
        assertEquals(setOf(2, 3), reduce(state(Phase.Verifying(command, 1)), Event.Started(open(1, 2, 3))).abandon)
        assertEquals(setOf(1), reduce(State(), Event.Started(open(1))).abandon)
        val lost = reduce(state(Phase.Verifying(command, 9)), Event.Started(open(1))).state
        assertEquals(Effect.Confirm(key), lost.job?.due(), "its session is gone: from the beginning")
    }

    @Test
    fun `progress is told in steps and a newer one takes the place of an older one`() {
        var state = state(Phase.Downloading(command, 1))
        for (offset in 10_000L..900_000L step 10_000) state = reduce(state, Event.Reached(1, offset, null)).state
        assertEquals(listOf(90), state.outbox.map { it.progress })
        assertEquals(3 + 18, state.job?.seq)
    }
}
