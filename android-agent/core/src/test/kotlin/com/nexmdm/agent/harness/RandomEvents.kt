package com.nexmdm.agent.harness

import com.nexmdm.agent.apk.ApkFacts
import com.nexmdm.agent.apk.ApkSigners
import com.nexmdm.agent.apk.Inspection
import com.nexmdm.agent.engine.Event
import com.nexmdm.agent.engine.SessionState
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.PostInstall
import com.nexmdm.agent.model.RestartIntent
import com.nexmdm.agent.net.Fetched
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.proto.Confirmation
import kotlin.random.Random

/** Events in any order, most of them fitting often enough for jobs to get somewhere. */
class RandomEvents(private val random: Random) {
    private val signer = "a".repeat(64)
    private var deployment = 1
    private var attempt = 1

    fun list(count: Int): List<Event> = List(count) { next() }

    fun command(
        mode: InstallMode = InstallMode.UPDATE,
        intent: RestartIntent? = null,
    ): DeployCommand =
        DeployCommand(
            action = "deploy_apk",
            schema = 1,
            deploymentId = Id("$deployment"),
            deviceId = Id("7"),
            attempt = attempt,
            apk = ApkSpec("com.shop.till", 121, "1", "/a.apk", "b".repeat(64), 1_000_000, listOf(signer)),
            installMode = mode,
            postInstall = PostInstall(intent),
        )

    private fun next(): Event =
        when (random.nextInt(18)) {
            0 -> Event.Ordered(another())
            1 -> Event.Poked
            2, 3, 4 -> Event.Confirmed(JobKey(Id("$deployment"), attempt), answer())
            5, 6, 7 -> Event.Probed(DeviceSnapshot(inCall = random.nextInt(9) == 0), installed())
            8 -> Event.Opened(1)
            9 -> Event.Reached(1, random.nextLong(1_000_000), "e")
            10 -> Event.FetchEnded(1, fetched())
            11 -> Event.Inspected(1, Inspection.Read(facts()), installed())
            12 -> Event.Committed(1)
            13 -> Event.Said(1, verdict())
            14 -> Event.Looked(1, SessionState.entries.random(random), installed())
            15 -> Event.Delivered(random.nextLong(60))
            16 -> if (random.nextInt(4) == 0) started() else Event.Uninstalled(1)
            else -> if (random.nextInt(6) == 0) Event.CouldNot(FailureCode.INTERNAL, "x") else Event.Launched(true)
        }

    private fun started() = Event.Started(mapOf(1 to SessionState.entries.random(random)))

    private fun another(): JobKey {
        when (random.nextInt(5)) {
            0 -> Unit
            1 -> attempt++
            else -> deployment++
        }
        return JobKey(Id("$deployment"), attempt)
    }

    private fun answer(): Confirmation =
        when (random.nextInt(8)) {
            0 -> Confirmation.Gone("canceled")
            1 -> Confirmation.Unreachable()
            else -> Confirmation.Stands(command(mode()), serverTime = null, windowOpen = null)
        }

    private fun mode() = if (deployment % 3 == 0) InstallMode.REINSTALL else InstallMode.UPDATE

    private fun fetched(): Fetched =
        when (random.nextInt(5)) {
            0 -> Fetched.Cut(random.nextLong(1_000_000), "e", FailureCode.DOWNLOAD_NETWORK, "cut")
            1 -> Fetched.Expired(0, null)
            2 -> Fetched.Stopped
            else -> Fetched.Complete
        }

    private fun facts() = ApkFacts("com.shop.till", 121, "1", 26, ApkSigners("v2", listOf(signer), emptyList()))

    private fun verdict(): InstallVerdict =
        when (random.nextInt(3)) {
            0 -> InstallVerdict.AskPerson
            1 -> InstallVerdict.Failed(FailureCode.INSTALL_ABORTED, "x")
            else -> InstallVerdict.Done
        }

    private fun installed(): InstalledPackage? =
        when (random.nextInt(4)) {
            0 -> null
            1 -> InstalledPackage("com.shop.till", 121, "1", setOf(signer))
            else -> InstalledPackage("com.shop.till", 120, "0", setOf(signer))
        }
}
