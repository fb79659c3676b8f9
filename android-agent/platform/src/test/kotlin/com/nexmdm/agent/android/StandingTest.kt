package com.nexmdm.agent.android

import com.nexmdm.agent.engine.Job
import com.nexmdm.agent.engine.Membership
import com.nexmdm.agent.engine.Person
import com.nexmdm.agent.engine.Phase
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.JobKey
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull

class StandingTest {
    private val apk =
        ApkSpec("com.nexmdm", 121, "1.0.121", "https://x/a.apk", "a".repeat(64), 200, listOf("b".repeat(64)))
    private val command = DeployCommand("deploy_apk", 1, Id("7"), Id("3"), 1, apk = apk)
    private val installed = InstalledPackage("com.nexmdm", 121)

    private fun during(phase: Phase) = State(job = Job(JobKey(Id("7"), 1), phase))

    @Test
    fun `every phase has its word`() {
        val words =
            mapOf(
                Phase.Asking() to Standing.PREPARING,
                Phase.Checking(command) to Standing.PREPARING,
                Phase.Opening(command) to Standing.PREPARING,
                Phase.Downloading(command, 1) to Standing.DOWNLOADING,
                Phase.Verifying(command, 1) to Standing.INSTALLING,
                Phase.Confirming(command, 1) to Standing.INSTALLING,
                Phase.Rechecking(command, 1) to Standing.INSTALLING,
                Phase.Removing(command, 1) to Standing.INSTALLING,
                Phase.Committing(command, 1) to Standing.INSTALLING,
                Phase.Watching(command, 1) to Standing.INSTALLING,
                Phase.Watching(command, 1, person = Person.TO_ASK) to Standing.NEEDS_PERSON,
                Phase.Watching(command, 1, person = Person.ASKED) to Standing.NEEDS_PERSON,
                Phase.Launching(command, installed) to Standing.INSTALLING,
            )
        words.forEach { (phase, word) -> assertEquals(word, Standing.of(during(phase)), "$phase") }
        assertEquals(Standing.READY, Standing.of(State()))
        assertEquals(Standing.NOT_SET_UP, Standing.of(null))
    }

    @Test
    fun `a device that no server has can be set up, and what it was doing does not hide that`() {
        val standings = Membership.entries.associateWith { Standing.of(it, during(Phase.Downloading(command, 1))) }
        val words =
            mapOf(
                Membership.NONE to Standing.NOT_SET_UP,
                Membership.JOINING to Standing.CONNECTING,
                Membership.REFUSED to Standing.REFUSED,
                Membership.MEMBER to Standing.DOWNLOADING,
                Membership.TURNED_AWAY to Standing.TURNED_AWAY,
            )
        assertEquals(words, standings)
        assertEquals(words.values - Standing.DOWNLOADING, words.values.filter { it.canBeSetUp })
        assertEquals(emptyList(), Standing.entries.filter { it.canBeSetUp } - words.values.toSet())
    }

    @Test
    fun `what is worked on is named once it is known`() {
        assertNull(during(Phase.Asking()).packageAtWork)
        val half = during(Phase.Downloading(command, 1, offset = 100))
        assertEquals(listOf("com.nexmdm", "1.0.121", 50), listOf(half.packageAtWork, half.versionAtWork, half.percent))
    }
}
