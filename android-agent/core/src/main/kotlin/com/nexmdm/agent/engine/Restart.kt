package com.nexmdm.agent.engine

/** What a phase means after the process ended in it: nothing counts as done that the device does not show. */
internal object Restart {
    fun resume(state: State, sessions: Set<Int>): Step {
        val job = state.job ?: return Step(state, sessions)
        val phase = resumed(job.phase, sessions)
        val held = (phase as? Phase.InSession)?.session
        return Step(state.copy(job = job.copy(phase = phase)), sessions - setOfNotNull(held))
    }

    private fun resumed(phase: Phase, sessions: Set<Int>): Phase =
        when (phase) {
            is Phase.Asking, is Phase.Checking, is Phase.Opening -> Phase.Asking()
            is Phase.Downloading ->
                if (phase.session in sessions) phase.copy(ask = true, tries = 0) else Phase.Opening(phase.command)
            is Phase.Verifying -> if (phase.session in sessions) phase else Phase.Opening(phase.command)
            is Phase.Confirming -> confirming(phase, sessions)
            is Phase.Rechecking -> confirming(phase, sessions)
            is Phase.Removing -> phase.copy(interrupted = true)
            is Phase.Committing -> Phase.Watching(phase.command, phase.session, phase.before)
            is Phase.Watching, is Phase.Launching -> phase
        }

    private fun confirming(phase: Phase.InSession, sessions: Set<Int>): Phase =
        if (phase.session in sessions) Phase.Confirming(phase.command, phase.session) else Phase.Opening(phase.command)
}
