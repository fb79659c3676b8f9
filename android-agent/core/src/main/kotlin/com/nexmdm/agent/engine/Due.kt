package com.nexmdm.agent.engine

import com.nexmdm.agent.net.FetchOrder
import com.nexmdm.agent.policy.Backoff
import kotlin.random.Random

/** The one effect that is due in this phase. */
public fun Job.due(): Effect? =
    when (val now = phase) {
        is Phase.Asking, is Phase.Confirming -> Effect.Confirm(key)
        is Phase.Checking -> Effect.Probe(now.command.apk.packageName)
        is Phase.Opening -> Effect.OpenSession(now.command.apk.packageName, now.command.apk.sizeBytes)
        is Phase.Downloading -> {
            if (now.ask) {
                Effect.Confirm(key)
            } else {
                Effect.Fetch(FetchOrder(now.command.apk, now.session, now.offset, now.etag))
            }
        }
        is Phase.Verifying -> Effect.Inspect(now.session, now.command.apk.packageName)
        is Phase.Rechecking -> Effect.Probe(now.command.apk.packageName)
        is Phase.Removing -> {
            if (now.interrupted) {
                Effect.Look(now.session, now.command.apk.packageName)
            } else {
                Effect.Uninstall(now.command.apk.packageName, now.session)
            }
        }
        is Phase.Committing -> Effect.Commit(now.session)
        is Phase.Watching -> {
            if (now.person == Person.TO_ASK) {
                Effect.Prompt(now.session)
            } else {
                Effect.Look(now.session, now.command.apk.packageName)
            }
        }
        is Phase.Launching ->
            now.command.postInstall.restartIntent?.let { Effect.Launch(now.command.apk.packageName, it) }
    }

/** How long to wait before the due effect, in milliseconds; [askedMs] is what a server asked for. */
internal fun Phase.pauseMs(random: Random, askedMs: Long?): Long =
    when (this) {
        is Phase.Asking -> TRY_AGAIN.pauseMs(tries, random, askedMs)
        is Phase.Confirming -> TRY_AGAIN.pauseMs(tries, random, askedMs)
        is Phase.Downloading -> TRY_AGAIN.pauseMs(tries, random, askedMs)
        is Phase.Watching -> if (saidDone || person == Person.TO_ASK) 0 else LOOK_AGAIN.pauseMs(looks + 1, random)
        else -> 0
    }

private val TRY_AGAIN = Backoff(firstMs = 1_000, maxMs = 60_000)
private val LOOK_AGAIN = Backoff(firstMs = 2_000, maxMs = 60_000)
