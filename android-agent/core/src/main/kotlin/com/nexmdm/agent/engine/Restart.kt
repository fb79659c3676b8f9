package com.nexmdm.agent.engine

/** What a phase means after the process ended in it: nothing counts as done that the device does not show. */
internal object Restart {
    /** [sessions] are all that the platform has of this agent; those that the job does not need are let go. */
    fun resume(state: State, sessions: Map<Int, SessionState>): Step {
        val job = state.job ?: return Step(state, sessions.keys)
        val phase = resumed(job.phase, sessions)
        val held = (phase as? Phase.InSession)?.session
        return Step(state.copy(job = job.copy(phase = phase)), sessions.keys - setOfNotNull(held))
    }

    private fun resumed(phase: Phase, sessions: Map<Int, SessionState>): Phase =
        when (phase) {
            is Phase.Asking -> phase.copy(tries = 0)
            is Phase.Checking, is Phase.Opening -> Phase.Asking()
            is Phase.Watching, is Phase.Launching -> phase
            is Phase.Committing -> Phase.Watching(phase.command, phase.session)
            is Phase.Removing -> phase.copy(interrupted = true)
            is Phase.InSession -> inSession(phase, sessions[phase.session] ?: SessionState.GONE)
        }

    /** A session that is committed tells more than a journal that lost its end. */
    private fun inSession(phase: Phase.InSession, session: SessionState): Phase =
        when (session) {
            SessionState.GONE -> Phase.Asking()
            SessionState.COMMITTED -> Phase.Watching(phase.command, phase.session)
            SessionState.OPEN -> reopened(phase)
        }

    private fun reopened(phase: Phase.InSession): Phase =
        when (phase) {
            is Phase.Downloading -> phase.copy(ask = true, tries = 0)
            is Phase.Rechecking -> Phase.Confirming(phase.command, phase.session)
            is Phase.Confirming -> phase.copy(tries = 0)
            else -> phase
        }
}
