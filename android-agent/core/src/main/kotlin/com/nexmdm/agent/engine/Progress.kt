package com.nexmdm.agent.engine

import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.net.Fetched

/** How a download goes on after each piece of news: bounded, because only new bytes earn new tries. */
internal object Progress {
    const val MAX_TRIES = 14
    private const val MAX_RENEWALS = 3
    private const val PROGRESS_BYTES = 64 * 1024
    private const val TELL_PERCENT = 5

    fun reached(phase: Phase.Downloading, event: Event.Reached, moves: Moves): Step {
        if (event.session != phase.session) return moves.stay()
        val next = phase.at(event.offset, event.etag)
        val percent = (event.offset * 100 / phase.command.apk.sizeBytes).toInt()
        if (percent < phase.told + TELL_PERCENT) return moves.enter(next)
        return moves.enter(next.copy(told = percent), Status.DOWNLOADING, percent)
    }

    fun ended(phase: Phase.Downloading, event: Event.FetchEnded, moves: Moves): Step =
        if (event.session == phase.session) ended(phase, event.result, moves) else moves.stay()

    private fun ended(phase: Phase.Downloading, result: Fetched, moves: Moves): Step =
        when (result) {
            is Fetched.Complete -> moves.enter(Phase.Verifying(phase.command, phase.session))
            is Fetched.Failed -> moves.fail(result.code, result.why)
            is Fetched.Stopped -> moves.stay()
            is Fetched.Cut -> cut(phase.at(result.offset, result.etag), result, moves)
            is Fetched.Expired -> expired(phase.at(result.offset, result.etag), moves)
        }

    private fun cut(here: Phase.Downloading, result: Fetched.Cut, moves: Moves): Step {
        if (here.tries >= MAX_TRIES) return moves.fail(result.code, result.why)
        return moves.enter(here.copy(tries = here.tries + 1))
    }

    private fun expired(here: Phase.Downloading, moves: Moves): Step {
        if (here.renewals >= MAX_RENEWALS) return moves.fail(FailureCode.URL_EXPIRED, "new addresses expire at once")
        return moves.enter(here.copy(ask = true, renewals = here.renewals + 1))
    }

    private fun Phase.Downloading.at(offset: Long, etag: String?): Phase.Downloading {
        val here = copy(offset = offset, etag = etag)
        if (offset < best + PROGRESS_BYTES) return here
        return here.copy(best = offset, tries = 0, renewals = 0)
    }
}
