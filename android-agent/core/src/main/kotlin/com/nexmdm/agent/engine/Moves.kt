package com.nexmdm.agent.engine

import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.InstalledVersion
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.SkipReason
import com.nexmdm.agent.model.Status
import java.time.Instant

/** The state after an event, and sessions that nothing refers to any more. */
public data class Step(
    public val state: State,
    public val abandon: Set<Int> = emptySet(),
) {
    /** Everything that is to be done now, in this order. */
    public val effects: List<Effect> get() = abandon.map(Effect::Abandon) + listOfNotNull(state.job?.due())
}

/** The ways in which a job moves: on to a phase, or to its end, each with what the server is told. */
internal class Moves(private val state: State, private val job: Job, private val at: Instant) {
    fun stay(): Step = Step(state)

    fun enter(phase: Phase): Step = Step(state.copy(job = job.copy(phase = phase)), left(phase))

    /** On to [phase], telling the server [status]. */
    fun enter(phase: Phase, status: Status, progress: Int? = null): Step {
        val told = state.told(job) { id, seq -> Report(id, job.key, seq, status, at, progress = progress) }
        return Step(told.copy(job = told.job?.copy(phase = phase)), left(phase))
    }

    fun succeed(installed: InstalledPackage, postInstall: Boolean?): Step {
        val version = InstalledVersion(installed.versionCode, installed.versionName, installed.signers.singleOrNull())
        val result = postInstall?.let { if (it) "ok" else "failed" }
        val ended =
            end { id, seq -> Report(id, job.key, seq, Status.SUCCEEDED, at, installed = version, postInstall = result) }
        return ended.copy(state = ended.state.copy(removed = ended.state.removed - installed.packageName))
    }

    /** A package that is off the device and not back is what matters then, whatever stopped it. */
    fun fail(code: FailureCode, why: String): Step =
        if (isUnfinished()) {
            end(Status.FAILED, FailureCode.REINSTALL_INCOMPLETE.wire, "${code.wire}: $why")
        } else {
            end(Status.FAILED, code.wire, why)
        }

    fun skip(reason: SkipReason, why: String): Step = end(Status.SKIPPED, reason.wire, why)

    /** The server called it off, for a reason in its own words. */
    fun stop(reason: String): Step = end(Status.SKIPPED, reason, "stopped as told")

    /** Over without a word: the server knows, or knows nothing of it. */
    fun drop(): Step = Step(state.copy(job = null))

    /** This agent took the package off in this or an earlier attempt: nothing but the end may stop it now. */
    fun isUnfinished(): Boolean = (job.phase as? Phase.Working)?.command?.apk?.packageName in state.removed

    /** The same job, once the command is known. */
    fun knowing(command: DeployCommand): Moves = Moves(state, job.copy(phase = Phase.Checking(command)), at)

    /** The package turned out not to have been removed. */
    fun unmarked(command: DeployCommand): Moves =
        Moves(state.copy(removed = state.removed - command.apk.packageName), job, at)

    private fun end(status: Status, code: String, why: String): Step =
        end { id, seq -> Report(id, job.key, seq, status, at, errorCode = code, error = why) }

    private fun end(report: (Long, Int) -> Report): Step {
        val told = state.told(job, report)
        val finished = (told.finished + Finished(told.outbox.last(), at)).takeLast(State.MAX_FINISHED)
        return Step(told.copy(job = null, finished = finished), left(null))
    }

    private fun left(next: Phase?): Set<Int> {
        val held = (job.phase as? Phase.InSession)?.session ?: return emptySet()
        return if ((next as? Phase.InSession)?.session == held) emptySet() else setOf(held)
    }
}

internal fun Step.marking(command: DeployCommand, removed: Boolean): Step {
    val name = command.apk.packageName
    return copy(state = state.copy(removed = if (removed) state.removed + name else state.removed - name))
}

/** Puts a report in the outbox and counts it in the job. */
private fun State.told(job: Job, report: (Long, Int) -> Report): State {
    val next = report(nextReport, job.seq + 1)
    return copy(
        job = job.copy(seq = next.seq),
        outbox = Outbox.add(outbox, next),
        nextReport = nextReport + 1,
    )
}

/** Of an attempt that this device was through with the server hears nothing before it has said that it stands. */
internal fun State.begin(key: JobKey, at: Instant): Step {
    val known = finished.map { it.report }.filter { it.key.deployment == key.deployment }
    val isOver = known.any { it.key.attempt >= key.attempt }
    val job = Job(key, Phase.Asking(again = isOver), seq = known.lastOrNull { it.key == key }?.seq ?: 0)
    return if (isOver) Step(copy(job = job)) else Moves(this, job, at).enter(job.phase, Status.RECEIVED)
}

/** The end of this attempt is on its way to the server. */
internal fun State.isToBeTold(key: JobKey): Boolean = outbox.any { it.key == key && it.status.isFinal }
