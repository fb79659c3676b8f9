package com.nexmdm.agent.store

import com.nexmdm.agent.engine.Finished
import com.nexmdm.agent.engine.Job
import com.nexmdm.agent.engine.Person
import com.nexmdm.agent.engine.Phase
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.harness.MemoryFile
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.Constraints
import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.InstalledVersion
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.PostInstall
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.RestartIntent
import com.nexmdm.agent.model.Status
import com.nexmdm.agent.model.Window
import kotlinx.serialization.json.JsonPrimitive
import java.time.Instant
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNotNull

/** An update of the agent finds what the version before it left: names and forms on the disk stay what they were. */
class FirstReleaseTest {
    private val at = Instant.parse("2026-11-24T10:00:00Z")
    private val key = JobKey(Id("42"), 3)
    private val signer = "a".repeat(64)
    private val intent = RestartIntent("com.nexmdm.RESTART", mapOf("why" to JsonPrimitive("update")))
    private val command =
        DeployCommand(
            "deploy_apk",
            1,
            Id("42"),
            Id("7"),
            3,
            issuedAt = at,
            expiresAt = at.plusSeconds(60),
            apk = ApkSpec("com.nexmdm", 121, "1.0.121", "/a.apk?sig=1", "b".repeat(64), 1_000_000, listOf(signer)),
            constraints = Constraints(wifiOnly = true, minBattery = 40, chargingOnly = true, minFreeMb = 200),
            window = Window(days = listOf("fri"), start = "22:00", end = "05:00", tz = "Europe/Berlin"),
            installMode = InstallMode.REINSTALL,
            postInstall = PostInstall(intent),
        )
    private val absolute = command.copy(window = Window(startIso = at, endIso = at.plusSeconds(3600)))
    private val installed = InstalledPackage("com.nexmdm", 121, "1.0.121", setOf(signer), updatedAt = 5)

    private val phases =
        listOf(
            Phase.Asking(tries = 1),
            Phase.Checking(command),
            Phase.Opening(absolute),
            Phase.Downloading(command, 9, 100, "\"e\"", tries = 2, told = 5, ask = true, renewals = 1, best = 200),
            Phase.Verifying(command, 9),
            Phase.Confirming(command, 9, tries = 3),
            Phase.Rechecking(command, 9),
            Phase.Removing(command, 9, interrupted = true),
            Phase.Committing(command, 9),
            Phase.Watching(command, 9, looks = 4, person = Person.ASKED, saidDone = true),
            Phase.Watching(command, 9, person = Person.TO_ASK),
            Phase.Launching(command, installed),
        )

    private val reports =
        Status.entries.mapIndexed { n, status ->
            val version = InstalledVersion(121, "1.0.121", signer)
            Report(n + 1L, key, n + 1, status, at, "in_call", "a call", n * 10, version, "ok")
        }

    private val states =
        phases.map { State(Job(key, it, seq = 4), removed = setOf("com.nexmdm")) } +
            State(null, reports, listOf(Finished(reports.last(), at)), setOf("com.shop"), nextReport = 7)

    @Test
    fun `a journal of the first release is read`() {
        val journal = assertNotNull(javaClass.getResource("/journal-of-the-first-release")).readText()
        val lines = journal.lines().filter { it.isNotEmpty() }
        assertEquals(states.size, lines.size)
        for (count in 1..lines.size) {
            val file = MemoryFile(bytes = lines.take(count).joinToString("") { "$it\n" }.toByteArray())
            assertEquals(states[count - 1], Journal(file).load(), "line $count")
        }
    }

    @Test
    fun `what a later version knows besides does not cost the account or the server's address`() {
        val account = """{"server": "https://s.test", "deviceId": "7", "tokens": ["t"], "tokenSinceMs": 1, "new": {}}"""
        assertEquals("7", Account(MemoryFile(bytes = account.toByteArray()), "https://s.test").deviceId?.text)
        val provision = """{"server_url": "https://s.test", "enrollment_token": "nxe", "new": []}"""
        assertEquals("https://s.test", ProvisionFile(MemoryFile(bytes = provision.toByteArray())).read()?.server)
    }
}
