package com.nexmdm.agent.engine

import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.InstantSerializer
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import java.time.Instant

/**
 * Where a job stands. Each phase has exactly one effect that is due (see [due]), so that after the end of the process
 * the phase alone says what comes next. `tries` and `looks` count what did not lead on.
 */
@Serializable
public sealed interface Phase {
    /**
     * Does the server still want it? Nothing is trusted before that. [again] = this device was through with it: the
     * order is an old one, or the server has forgotten (it was restored from a backup).
     */
    @Serializable
    @SerialName("asking")
    public data class Asking(public val tries: Int = 0, public val again: Boolean = false) : Phase

    @Serializable
    public sealed interface Working : Phase {
        public val command: DeployCommand
    }

    @Serializable
    public sealed interface InSession : Working {
        public val session: Int
    }

    /** Is the device fit, and what is installed? */
    @Serializable
    @SerialName("checking")
    public data class Checking(override val command: DeployCommand) : Working

    @Serializable
    @SerialName("opening")
    public data class Opening(override val command: DeployCommand) : Working

    /**
     * [offset] bytes are safe, [best] were once; only what goes beyond counts as progress. [told] is the percentage
     * last reported, [ask] = the server must be asked before going on, [renewals] = addresses that had expired.
     */
    @Serializable
    @SerialName("downloading")
    public data class Downloading(
        override val command: DeployCommand,
        override val session: Int,
        public val offset: Long = 0,
        public val etag: String? = null,
        public val tries: Int = 0,
        public val told: Int = 0,
        public val ask: Boolean = false,
        public val renewals: Int = 0,
        public val best: Long = 0,
    ) : InSession

    @Serializable
    @SerialName("verifying")
    public data class Verifying(override val command: DeployCommand, override val session: Int) : InSession

    /** The last question before the device is touched. */
    @Serializable
    @SerialName("confirming")
    public data class Confirming(
        override val command: DeployCommand,
        override val session: Int,
        public val tries: Int = 0,
    ) : InSession

    @Serializable
    @SerialName("rechecking")
    public data class Rechecking(override val command: DeployCommand, override val session: Int) : InSession

    /** Reinstall: from here no pause, window or condition stops it. */
    @Serializable
    @SerialName("removing")
    public data class Removing(
        override val command: DeployCommand,
        override val session: Int,
        public val interrupted: Boolean = false,
    ) : InSession

    @Serializable
    @SerialName("committing")
    public data class Committing(override val command: DeployCommand, override val session: Int) : InSession

    /** Committed. The platform's word or the package itself tells the end; a [person] may have been asked. */
    @Serializable
    @SerialName("watching")
    public data class Watching(
        override val command: DeployCommand,
        override val session: Int,
        public val looks: Int = 0,
        public val person: Person = Person.NOT_ASKED,
        public val saidDone: Boolean = false,
    ) : InSession

    /** Installed; the restart intent is on its way. */
    @Serializable
    @SerialName("launching")
    public data class Launching(
        override val command: DeployCommand,
        public val installed: InstalledPackage,
    ) : Working
}

@Serializable
public enum class Person { NOT_ASKED, TO_ASK, ASKED }

@Serializable
public data class Job(
    public val key: JobKey,
    public val phase: Phase,
    public val seq: Int = 0,
)

/** A job that ended, with the report that said so. */
@Serializable
public data class Finished(
    public val report: Report,
    @Serializable(with = InstantSerializer::class) public val at: Instant,
)

/** Everything that survives the process. [removed] = packages that this agent took off and has not yet put back. */
public data class State(
    public val job: Job? = null,
    public val outbox: List<Report> = emptyList(),
    public val finished: List<Finished> = emptyList(),
    public val removed: Set<String> = emptySet(),
    public val nextReport: Long = 1,
) {
    internal companion object {
        const val MAX_FINISHED = 200
    }
}
