package com.nexmdm.agent.engine

import com.nexmdm.agent.apk.ApkFacts
import com.nexmdm.agent.apk.Inspection
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.InstallRight
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.SkipReason
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.policy.Conditions
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.policy.Signers
import com.nexmdm.agent.policy.Versions
import com.nexmdm.agent.policy.Windows
import com.nexmdm.agent.proto.Confirmation
import java.time.Instant

/**
 * The whole state machine, without clock, network or disk:
 *
 * ```
 * Asking → Checking → Opening → Downloading → Verifying → Confirming → Rechecking ─┬──────────→ Committing
 *    └────────┴──────────┴───────────┴────────────┴────────────┴───────────┘        └→ Removing ─┘     │
 *         skipped (condition, window, called off) or failed (code)                 (reinstall only)    │
 *                                                 succeeded ← (Launching) ← Watching ←─────────────────┘
 * ```
 * Up to Rechecking the server can call it off; from Removing or Committing on the device decides how it ends.
 */
public class Reducer(
    private val agentPackage: String,
    private val sdkInt: Int,
    private val deviceZone: () -> String? = { null },
) {
    public fun reduce(state: State, event: Event, at: Instant): Step {
        val job = state.job
        return when (event) {
            is Event.Started -> Restart.resume(state, event.sessions)
            is Event.Ordered -> ordered(state, event, at)
            is Event.Misunderstood -> misunderstood(state, event, at)
            is Event.Delivered -> Step(state.copy(outbox = state.outbox.filterNot { it.id == event.reportId }))
            is Event.Confirmed if event.key != job?.key -> Step(state)
            else -> if (job == null) Step(state) else advance(job.phase, event, Moves(state, job, at), at)
        }
    }

    private fun ordered(state: State, event: Event.Ordered, at: Instant): Step {
        val job = state.job
        return when {
            job?.key == event.key || state.isToBeTold(event.key) -> Step(state)
            job == null -> state.begin(event.key, at)
            else -> advance(job.phase, Event.Poked, Moves(state, job, at), at)
        }
    }

    private fun misunderstood(state: State, event: Event.Misunderstood, at: Instant): Step {
        if (state.job != null || state.isToBeTold(event.key)) return Step(state)
        return Moves(state, Job(event.key, Phase.Asking()), at).fail(FailureCode.INTERNAL, event.why)
    }

    private fun advance(phase: Phase, event: Event, moves: Moves, at: Instant): Step =
        if (event is Event.CouldNot) couldNot(phase, event, moves) else next(phase, event, moves, at)

    private fun couldNot(phase: Phase, event: Event.CouldNot, moves: Moves): Step =
        when (phase) {
            is Phase.Removing -> moves.unmarked(phase.command).fail(event.code, event.why)
            is Phase.Watching -> lookAgain(phase, moves)
            is Phase.Launching -> moves.succeed(phase.installed, false)
            else -> moves.fail(event.code, event.why)
        }

    private fun next(phase: Phase, event: Event, moves: Moves, at: Instant): Step =
        when (phase) {
            is Phase.Asking -> asking(phase, event, moves, at)
            is Phase.Checking -> checking(phase, event, moves)
            is Phase.Opening -> opening(phase, event, moves)
            is Phase.Downloading -> downloading(phase, event, moves)
            is Phase.Verifying -> verifying(phase, event, moves)
            is Phase.Confirming -> confirming(phase, event, moves, at)
            is Phase.Rechecking -> rechecking(phase, event, moves)
            is Phase.Removing -> removing(phase, event, moves)
            is Phase.Committing -> committing(phase, event, moves)
            is Phase.Watching -> watching(phase, event, moves)
            is Phase.Launching ->
                if (event is Event.Launched) moves.succeed(phase.installed, event.ok) else moves.stay()
        }

    private fun asking(phase: Phase.Asking, event: Event, moves: Moves, at: Instant): Step {
        if (event !is Event.Confirmed) return moves.stay()
        if (phase.again && isNothing(event.answer, phase.tries)) return moves.drop()
        return answered(event.answer, moves, phase.tries, { moves.enter(phase.copy(tries = phase.tries + 1)) }) {
            val command = it.command
            when {
                command.apk.packageName == agentPackage && command.installMode == InstallMode.REINSTALL ->
                    moves.fail(FailureCode.INSTALL_BLOCKED, "the agent cannot remove itself")
                else -> inWindow(it, moves.knowing(command), at) { known -> taken(phase, command, known) }
            }
        }
    }

    /** What is begun anew is acknowledged only now. */
    private fun taken(phase: Phase.Asking, command: DeployCommand, moves: Moves): Step =
        if (phase.again) {
            moves.enter(Phase.Checking(command), Status.RECEIVED)
        } else {
            moves.enter(Phase.Checking(command))
        }

    private fun isNothing(answer: Confirmation, tries: Int): Boolean =
        when (answer) {
            is Confirmation.Gone, is Confirmation.Refused -> true
            is Confirmation.Unreachable -> tries >= Progress.MAX_TRIES
            is Confirmation.Stands, is Confirmation.NotUnderstood -> false
        }

    private fun checking(phase: Phase.Checking, event: Event, moves: Moves): Step {
        if (event !is Event.Probed) return moves.stay()
        val command = phase.command
        return settledAlready(command, event.installed, moves) ?: fit(event, moves) {
            Conditions.missed(event.device, command.constraints, command.apk.sizeBytes)
                ?.takeUnless { moves.isUnfinished() }
                ?.let { moves.skip(it.reason, it.text) }
                ?: moves.enter(Phase.Opening(command))
        }
    }

    private fun opening(phase: Phase.Opening, event: Event, moves: Moves): Step =
        if (event is Event.Opened) {
            moves.enter(Phase.Downloading(phase.command, event.session), Status.DOWNLOADING, progress = 0)
        } else {
            moves.stay()
        }

    private fun downloading(phase: Phase.Downloading, event: Event, moves: Moves): Step =
        when (event) {
            is Event.Poked -> moves.enter(phase.copy(ask = true))
            is Event.Probed -> {
                Conditions.lost(event.device, phase.command.constraints, phase.command.apk.sizeBytes)
                    ?.takeUnless { moves.isUnfinished() }
                    ?.let { moves.skip(it.reason, it.text) } ?: moves.stay()
            }
            is Event.Confirmed -> {
                answered(event.answer, moves, phase.tries, { moves.enter(phase.copy(tries = phase.tries + 1)) }) {
                    same(phase.command, it.command, moves) {
                        moves.enter(phase.copy(command = it.command, ask = false))
                    }
                }
            }
            is Event.Reached -> Progress.reached(phase, event, moves)
            is Event.FetchEnded -> Progress.ended(phase, event, moves)
            else -> moves.stay()
        }

    private fun verifying(phase: Phase.Verifying, event: Event, moves: Moves): Step {
        if (event !is Event.Inspected || event.session != phase.session) return moves.stay()
        return when (val found = event.result) {
            is Inspection.NotAnApk -> moves.fail(FailureCode.APK_INVALID, found.why)
            is Inspection.SignatureUnreadable -> moves.fail(FailureCode.SIGNATURE_INVALID, found.why)
            is Inspection.Read -> {
                objection(phase.command.apk, found.facts, event.installed)?.let { moves.fail(it.first, it.second) }
                    ?: moves.enter(Phase.Confirming(phase.command, phase.session), Status.INSTALLING)
            }
        }
    }

    private fun confirming(phase: Phase.Confirming, event: Event, moves: Moves, at: Instant): Step {
        if (event !is Event.Confirmed) return moves.stay()
        return answered(event.answer, moves, phase.tries, {
            moves.enter(phase.copy(tries = phase.tries + 1))
        }) { stands ->
            same(phase.command, stands.command, moves) {
                inWindow(stands, moves, at) { it.enter(Phase.Rechecking(stands.command, phase.session)) }
            }
        }
    }

    private fun rechecking(phase: Phase.Rechecking, event: Event, moves: Moves): Step {
        if (event !is Event.Probed) return moves.stay()
        val command = phase.command
        val toRemove = command.installMode == InstallMode.REINSTALL && event.installed != null
        return settledAlready(command, event.installed, moves) ?: fit(event, moves) {
            val lost =
                Conditions.lost(event.device, command.constraints, command.apk.sizeBytes)
                    ?.takeUnless { moves.isUnfinished() }
            when {
                lost != null -> moves.skip(lost.reason, lost.text)
                toRemove -> moves.enter(Phase.Removing(command, phase.session)).marking(command, removed = true)
                else -> moves.enter(Phase.Committing(command, phase.session))
            }
        }
    }

    /** After an interruption the package itself tells how far it came: gone = go on at once, there = ask again. */
    private fun removing(phase: Phase.Removing, event: Event, moves: Moves): Step {
        val command = phase.command
        return when (event) {
            is Event.Uninstalled -> moves.enter(Phase.Committing(command, phase.session))
            is Event.Looked -> {
                if (event.installed == null) {
                    moves.enter(Phase.Committing(command, phase.session))
                } else {
                    moves.enter(Phase.Confirming(command, phase.session)).marking(command, removed = false)
                }
            }
            else -> moves.stay()
        }
    }

    private fun committing(phase: Phase.Committing, event: Event, moves: Moves): Step {
        val watching = Phase.Watching(phase.command, phase.session)
        return when (event) {
            is Event.Committed -> moves.enter(watching)
            is Event.Said -> watching(watching, event, moves)
            else -> moves.stay()
        }
    }

    private fun watching(phase: Phase.Watching, event: Event, moves: Moves): Step =
        when (event) {
            is Event.Said -> if (event.session == phase.session) said(phase, event.verdict, moves) else moves.stay()
            is Event.Prompted -> {
                if (event.shown) {
                    moves.enter(phase.copy(person = Person.ASKED, looks = 0))
                } else {
                    moves.fail(FailureCode.NOT_PERMITTED, "no silent install, and no person can be asked")
                }
            }
            is Event.Looked -> if (event.session == phase.session) looked(phase, event, moves) else moves.stay()
            else -> moves.stay()
        }

    private fun said(phase: Phase.Watching, verdict: InstallVerdict, moves: Moves): Step =
        when (verdict) {
            is InstallVerdict.Done -> moves.enter(phase.copy(saidDone = true))
            is InstallVerdict.AskPerson -> moves.enter(phase.copy(person = Person.TO_ASK))
            is InstallVerdict.Failed -> {
                val declined = verdict.code == FailureCode.INSTALL_ABORTED && phase.person != Person.NOT_ASKED
                moves.fail(if (declined) FailureCode.USER_DECLINED else verdict.code, verdict.text)
            }
        }

    /** The package is the truth; a session that is gone without a word gets a moment for the word to arrive. */
    private fun looked(phase: Phase.Watching, event: Event.Looked, moves: Moves): Step {
        val installed = event.installed
        return when {
            installed != null && installed.versionCode == phase.command.apk.versionCode ->
                arrived(phase.command, installed, moves, FailureCode.RESULT_MISMATCH)
            phase.saidDone -> moves.fail(FailureCode.RESULT_MISMATCH, "installed is ${installed?.versionCode}")
            event.state == SessionState.OPEN && phase.person == Person.NOT_ASKED ->
                neverCommitted(phase, installed, moves)
            event.state == SessionState.GONE && phase.looks >= GRACE_LOOKS ->
                moves.fail(FailureCode.INSTALL_ABORTED, "the session ended without a word")
            else -> lookAgain(phase, moves)
        }
    }

    private fun lookAgain(phase: Phase.Watching, moves: Moves): Step {
        val asked = phase.person != Person.NOT_ASKED
        val patience = if (asked) MAX_PERSON_LOOKS else MAX_LOOKS
        return when {
            phase.looks < patience -> moves.enter(phase.copy(looks = phase.looks + 1))
            asked -> moves.fail(FailureCode.NOT_PERMITTED, "nobody answered")
            else -> moves.fail(FailureCode.INSTALL_TIMEOUT, "no result from the platform")
        }
    }

    private fun neverCommitted(phase: Phase.Watching, installed: InstalledPackage?, moves: Moves): Step =
        if (moves.isUnfinished() && installed == null) {
            moves.enter(Phase.Committing(phase.command, phase.session))
        } else {
            moves.enter(Phase.Confirming(phase.command, phase.session))
        }

    private fun settledAlready(command: DeployCommand, installed: InstalledPackage?, moves: Moves): Step? =
        when (Versions.standing(command.apk, installed, command.installMode)) {
            Versions.Standing.TO_DO -> null
            Versions.Standing.NEWER_THERE ->
                moves.skip(SkipReason.NEWER_INSTALLED, "version ${installed?.versionCode} is installed")
            Versions.Standing.ALREADY_THERE ->
                installed?.let { arrived(command, it, moves, FailureCode.SIGNATURE_MISMATCH) }
        }

    /** The version is on the device; a foreign certificate makes it another app. */
    private fun arrived(command: DeployCommand, installed: InstalledPackage, moves: Moves, foreign: FailureCode): Step =
        when {
            installed.signers.any { it !in command.apk.signerSha256 } -> {
                moves.fail(foreign, "the version is right, its signer is not")
            }
            command.postInstall.restartIntent == null -> moves.succeed(installed, null)
            else -> moves.enter(Phase.Launching(command, installed))
        }

    private fun fit(event: Event.Probed, moves: Moves, go: () -> Step): Step =
        if (event.device.installRight == InstallRight.NONE) {
            moves.fail(FailureCode.NOT_PERMITTED, "no silent install, and no person can be asked")
        } else {
            go()
        }

    private fun objection(apk: ApkSpec, facts: ApkFacts, installed: InstalledPackage?): Pair<FailureCode, String>? =
        when {
            facts.packageName != apk.packageName -> FailureCode.PACKAGE_MISMATCH to "the APK is ${facts.packageName}"
            facts.versionCode != apk.versionCode -> FailureCode.VERSION_MISMATCH to "the APK is ${facts.versionCode}"
            facts.minSdk > sdkInt -> FailureCode.SDK_TOO_OLD to "needs SDK ${facts.minSdk}, this is $sdkInt"
            else ->
                Signers.objection(facts.signers, apk.signerSha256, installed)
                    ?.let { FailureCode.SIGNATURE_MISMATCH to it }
        }

    private inline fun answered(
        answer: Confirmation,
        moves: Moves,
        tries: Int,
        again: () -> Step,
        stands: (Confirmation.Stands) -> Step,
    ): Step =
        when (answer) {
            is Confirmation.Stands -> stands(answer)
            is Confirmation.Gone -> moves.stop(answer.reason)
            is Confirmation.Refused -> moves.skip(SkipReason.CANCELED, "the server answered ${answer.httpStatus}")
            is Confirmation.NotUnderstood -> moves.fail(FailureCode.INTERNAL, answer.why)
            is Confirmation.Unreachable if tries < Progress.MAX_TRIES -> again()
            is Confirmation.Unreachable -> moves.fail(FailureCode.DOWNLOAD_NETWORK, "the server was not reached")
        }

    /** The same attempt never means other bytes. */
    private inline fun same(known: DeployCommand, now: DeployCommand, moves: Moves, go: () -> Step): Step =
        if (known.apk.copy(url = "") == now.apk.copy(url = "") && known.installMode == now.installMode) {
            go()
        } else {
            moves.fail(FailureCode.INTERNAL, "the command changed within the attempt")
        }

    private inline fun inWindow(stands: Confirmation.Stands, moves: Moves, at: Instant, go: (Moves) -> Step): Step {
        val open = stands.windowOpen ?: Windows.isOpen(stands.command.window, stands.serverTime ?: at, deviceZone())
        if (open || moves.isUnfinished()) return go(moves)
        return moves.skip(SkipReason.OUTSIDE_WINDOW, "the maintenance window is closed")
    }

    private companion object {
        /** With pauses of up to a minute: half an hour for the platform, a good ten minutes for a person. */
        const val MAX_LOOKS = 40
        const val MAX_PERSON_LOOKS = 18
        const val GRACE_LOOKS = 2
    }
}
