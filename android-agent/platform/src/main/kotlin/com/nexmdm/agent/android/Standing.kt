package com.nexmdm.agent.android

import com.nexmdm.agent.engine.Agent
import com.nexmdm.agent.engine.Membership
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

    /** No server has this device: an enrolment token can be given, or mended. */
    public val canBeSetUp: Boolean
        get() = this == NOT_SET_UP || this == REFUSED || this == CONNECTING || this == TURNED_AWAY

    public companion object {
        /** [agent] is null until the device was provisioned. */
        public fun of(agent: Agent?): Standing =
            if (agent == null) NOT_SET_UP else of(agent.membership, agent.state)

        public fun of(membership: Membership, state: State): Standing =
            when (membership) {
                Membership.NONE -> NOT_SET_UP
                Membership.JOINING -> CONNECTING
                Membership.REFUSED -> REFUSED
                Membership.TURNED_AWAY -> TURNED_AWAY
                Membership.MEMBER -> of(state)
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
