package com.nexmdm.agent.model

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import java.time.Instant

/** Either absolute ([startIso] and [endIso]) or recurring: [start] to [end], `HH:MM` by the wall clock of [tz]. */
@Serializable
public data class Window(
    @SerialName("start_iso") @Serializable(with = InstantSerializer::class) public val startIso: Instant? = null,
    @SerialName("end_iso") @Serializable(with = InstantSerializer::class) public val endIso: Instant? = null,
    public val days: List<String>? = null,
    public val start: String? = null,
    public val end: String? = null,
    public val tz: String? = null,
) {
    init {
        require((startIso != null && endIso != null) || (start != null && end != null)) {
            "a window is absolute or recurring"
        }
    }
}
