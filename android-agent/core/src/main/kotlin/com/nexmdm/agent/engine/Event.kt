package com.nexmdm.agent.engine

import com.nexmdm.agent.apk.Inspection
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.RestartIntent
import com.nexmdm.agent.net.FetchOrder
import com.nexmdm.agent.net.Fetched
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.proto.Confirmation

/** What happened. Events of an effect carry what they are about, so that a late one changes nothing. */
public sealed interface Event {
    /** The process began anew; [sessions] are those that the platform knows. */
    public data class Started(public val sessions: Map<Int, SessionState>) : Event

    /** The server wants this attempt. */
    public data class Ordered(public val key: JobKey) : Event

    /** An order that this agent cannot read. */
    public data class Misunderstood(public val key: JobKey, public val why: String) : Event

    /** Something about the current job changed on the server. */
    public data object Poked : Event

    public data class Delivered(public val reportId: Long) : Event

    public data class Confirmed(public val key: JobKey, public val answer: Confirmation) : Event

    public data class Probed(public val device: DeviceSnapshot, public val installed: InstalledPackage?) : Event

    public data class Opened(public val session: Int) : Event

    public data class CouldNot(public val code: FailureCode, public val why: String) : Event

    public data class Reached(public val session: Int, public val offset: Long, public val etag: String?) : Event

    public data class FetchEnded(public val session: Int, public val result: Fetched) : Event

    public data class Inspected(
        public val session: Int,
        public val result: Inspection,
        public val installed: InstalledPackage?,
    ) : Event

    public data class Uninstalled(public val session: Int) : Event

    public data class Committed(public val session: Int) : Event

    /** The platform's word on a committed session. */
    public data class Said(public val session: Int, public val verdict: InstallVerdict) : Event

    public data class Prompted(public val session: Int, public val shown: Boolean) : Event

    public data class Looked(
        public val session: Int,
        public val state: SessionState,
        public val installed: InstalledPackage?,
    ) : Event

    public data class Launched(public val ok: Boolean) : Event
}

/** What is to be done outside. All but [Abandon] answer with one event. */
public sealed interface Effect {
    public data class Confirm(public val key: JobKey) : Effect

    public data class Probe(public val packageName: String) : Effect

    public data class OpenSession(public val packageName: String, public val sizeBytes: Long) : Effect

    public data class Fetch(public val order: FetchOrder) : Effect

    public data class Inspect(public val session: Int, public val packageName: String) : Effect

    public data class Uninstall(public val packageName: String, public val session: Int) : Effect

    public data class Commit(public val session: Int) : Effect

    public data class Prompt(public val session: Int) : Effect

    public data class Look(public val session: Int, public val packageName: String) : Effect

    public data class Launch(public val packageName: String, public val intent: RestartIntent) : Effect

    public data class Abandon(public val session: Int) : Effect
}
