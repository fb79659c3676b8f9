package com.nexmdm.agent.proto

import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstantSerializer
import com.nexmdm.agent.model.JobKey
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonElement
import java.time.Instant

/** What the server said when asked whether an attempt still stands. */
public sealed interface Confirmation {
    /** Do it. [serverTime] and [windowOpen] outrank the device's clock. */
    public data class Stands(
        public val command: DeployCommand,
        public val serverTime: Instant?,
        public val windowOpen: Boolean?,
    ) : Confirmation

    /** Canceled, stopped, withdrawn, settled or over: [reason] in the server's words. */
    public data class Gone(public val reason: String) : Confirmation

    /** Unknown here, or another device's. */
    public data class Refused(public val httpStatus: Int) : Confirmation

    /** It stands, but this agent cannot read it. */
    public data class NotUnderstood(public val why: String) : Confirmation

    /** No usable answer; [retryAfterMs] where the server named a pause. */
    public data class Unreachable(public val retryAfterMs: Long? = null) : Confirmation
}

/** What became of one report. */
public sealed interface Delivery {
    /** The server has it, or has decided otherwise; [stop] asks to look again at what is being done. */
    public data class Taken(public val stop: Boolean) : Delivery

    /** Refused for what it says: repeating it may help a little, not for ever. */
    public data class Refused(public val httpStatus: Int) : Delivery

    public data class Unreachable(public val retryAfterMs: Long? = null) : Delivery
}

public sealed interface Beat {
    public data class Answered(
        public val serverTime: Instant?,
        public val intervalSec: Int,
        public val commands: List<Incoming>,
    ) : Beat

    public data class Unreachable(public val retryAfterMs: Long? = null) : Beat

    /** The device token is not accepted any more, or the device was retired. */
    public data object TurnedAway : Beat
}

public sealed interface Enrolment {
    public data class Done(public val deviceId: Id, public val token: String) : Enrolment

    /** No repeat will help: bad token, serial taken, serial refused. */
    public data class Refused(public val httpStatus: Int, public val why: String) : Enrolment

    public data class Unreachable(public val retryAfterMs: Long? = null) : Enrolment
}

@Serializable
internal data class Ids(
    @SerialName("deployment_id") val deploymentId: Id,
    @SerialName("device_id") val deviceId: Id,
    val attempt: Int,
) {
    fun toHint(): Incoming.Hint = Incoming.Hint(JobKey(deploymentId, attempt), deviceId)
}

@Serializable
internal data class ConfirmExtras(
    @SerialName("server_time") @Serializable(with = InstantSerializer::class) val serverTime: Instant? = null,
    @SerialName("window_open") val windowOpen: Boolean? = null,
)

@Serializable
internal data class GoneBody(
    val status: String? = null,
    val reason: String? = null,
)

@Serializable
internal data class StatusAnswer(
    val status: String,
    val final: Boolean = false,
    val cancel: Boolean = false,
)

@Serializable
internal data class HeartbeatAnswer(
    @SerialName("server_time") @Serializable(with = InstantSerializer::class) val serverTime: Instant? = null,
    @SerialName("checkin_interval_sec") val checkinIntervalSec: Int = 60,
    val commands: List<JsonElement> = emptyList(),
)

@Serializable
internal data class EnrollAnswer(
    @SerialName("device_id") val deviceId: Id,
    @SerialName("device_token") val deviceToken: String,
)

@Serializable
internal data class TokenAnswer(
    @SerialName("device_token") val deviceToken: String? = null,
    val token: String? = null,
)

@Serializable
internal data class Problem(
    val type: String? = null,
    val title: String? = null,
    val detail: String? = null,
)
