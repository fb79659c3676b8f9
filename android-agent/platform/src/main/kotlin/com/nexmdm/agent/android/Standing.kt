package com.nexmdm.agent.android

import com.nexmdm.agent.engine.Agent
import com.nexmdm.agent.engine.Person
import com.nexmdm.agent.engine.Phase
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.model.Status

/** What a person at the device wants to know, in one word. [PREPARING] and on are about one package. */
public enum class Standing {
    NOT_SET_UP,
    REFUSED,
    CONNECTING,
    TURNED_AWAY,
    READY,
    PREPARING,
    DOWNLOADING,
    INSTALLING,
    NEEDS_PERSON,
    ;

    /** The device belongs to no server yet: address and token can still be given, or mended. */
    public val isBeforeEnrolment: Boolean get() = this == NOT_SET_UP || this == REFUSED || this == CONNECTING

    public companion object {
        /** [agent] is null until the device was provisioned. */
        public fun of(agent: Agent?): Standing =
            when {
                agent == null -> NOT_SET_UP
                agent.isTurnedAway -> TURNED_AWAY
                agent.isEnrolled -> of(agent.state)
                agent.refused != null -> REFUSED
                else -> CONNECTING
            }

        public fun of(state: State): Standing =
            when (val phase = state.job?.phase) {
                null -> READY
                is Phase.Asking, is Phase.Checking, is Phase.Opening -> PREPARING
                is Phase.Downloading -> DOWNLOADING
                is Phase.Watching -> if (phase.person == Person.NOT_ASKED) INSTALLING else NEEDS_PERSON
                else -> INSTALLING
            }
    }
}

/** The package that is being worked on, where it is known by now. */
public val State.packageAtWork: String? get() = (job?.phase as? Phase.Working)?.command?.apk?.packageName

public val State.versionAtWork: String?
    get() = (job?.phase as? Phase.Working)?.command?.apk?.let { it.versionName ?: "${it.versionCode}" }

/** 0 to 100 while it downloads. */
public val State.percent: Int?
    get() = (job?.phase as? Phase.Downloading)?.let { (it.offset * 100 / it.command.apk.sizeBytes).toInt() }

/** How the last command ended, as the server was told; null if there was none. */
public val State.lastResult: Pair<Status, String?>?
    get() = finished.lastOrNull()?.report?.let { it.status to it.errorCode }
