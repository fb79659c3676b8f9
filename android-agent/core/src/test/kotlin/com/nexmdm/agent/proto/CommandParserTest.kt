package com.nexmdm.agent.proto

import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.JobKey
import net.jqwik.api.ForAll
import net.jqwik.api.Property
import net.jqwik.api.constraints.Size
import net.jqwik.api.constraints.StringLength
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.time.Instant
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertNull

class CommandParserTest {
    private val sha = "ab".repeat(32)
    private val apk =
        """{"package": "com.nexmdm", "version_code": 121, "version_name": "1.0.121-d263d20", "url": "https://m/a.apk",
           "sha256": "$sha", "size_bytes": 1234, "signer_sha256": ["$sha"], "new": 1}"""

    private fun json(
        deployment: String = "\"d-1\"",
        schema: String = "1",
        apk: String = this.apk,
        more: String = "",
    ) = """{"action": "deploy_apk", "schema": $schema, "deployment_id": $deployment, "device_id": 7, "attempt": 2,
        "issued_at": "2026-11-24T10:00:00+01:00", "expires_at": "2026-11-24T12:00:00Z", "apk": $apk $more}"""

    private val push =
        mapOf(
            "action" to "deploy_apk",
            "schema" to "1",
            "deployment_id" to "41",
            "device_id" to "7",
            "attempt" to "2",
            "apk" to apk,
            "constraints" to """{"wifi_only": true, "min_battery": 40, "charging_only": false, "min_free_mb": 200}""",
            "window" to "null",
            "post_install" to """{"restart_intent": {"action": "com.nexmdm.RESTART", "extras": {"why": "update"}}}""",
            "unknown" to "{",
        )

    @Test
    fun `ids are numbers or texts, and stay what they were`() {
        val text = assertIs<Incoming.Command>(CommandParser.fromJson(json())).command
        assertEquals(Id("d-1") to Id("7"), text.deploymentId to text.deviceId)
        assertEquals(Instant.parse("2026-11-24T09:00:00Z"), text.issuedAt)
        val number = assertIs<Incoming.Command>(CommandParser.fromJson(json(deployment = "9007199254740993"))).command
        assertEquals("9007199254740993", number.deploymentId.text)
    }

    @Test
    fun `what is left out or null is the default`() {
        val more =
            """, "constraints": null, "window": null, "install_mode": null,
                "post_install": {"restart_intent": null}"""
        for (text in listOf(json(), json(more = more))) {
            val command = assertIs<Incoming.Command>(CommandParser.fromJson(text)).command
            assertEquals(false to InstallMode.UPDATE, command.constraints.wifiOnly to command.installMode)
            assertNull(command.window)
            assertNull(command.postInstall.restartIntent)
        }
    }

    @Test
    fun `a push carries the same command in texts`() {
        val command = assertIs<Incoming.Command>(CommandParser.fromPush(push)).command
        assertEquals(JobKey(Id("41"), 2), command.key)
        assertEquals(200, command.constraints.minFreeMb)
        assertEquals("com.nexmdm.RESTART", command.postInstall.restartIntent?.action)
    }

    @Test
    fun `a long command comes as ids only, and an unknown action is at least a hint`() {
        val ids = push.filterKeys { it in setOf("action", "deployment_id", "device_id", "attempt") }
        val hint = Incoming.Hint(JobKey(Id("41"), 2), Id("7"))
        assertEquals(hint, CommandParser.fromPush(ids))
        assertEquals(hint, CommandParser.fromPush(ids + ("action" to "cancel")))
        assertIs<Incoming.Rejected>(CommandParser.fromPush(ids - "attempt"))
        assertIs<Incoming.Rejected>(CommandParser.fromPush(emptyMap()))
    }

    @TestFactory
    fun `refused is`(): List<DynamicTest> =
        mapOf(
            "a later schema" to json(schema = "2"),
            "a version as text" to json(apk = apk.replace("121,", "\"x\",")),
            "a version of zero" to json(apk = apk.replace("121,", "0,")),
            "a size below one" to json(apk = apk.replace("1234", "0")),
            "a short sha256" to json(apk = apk.replace(sha, "ab")),
            "no signer" to json(apk = apk.replace("[\"$sha\"]", "[]")),
            "a malformed package" to json(apk = apk.replace("com.nexmdm", "../etc")),
            "no apk" to json(apk = "null"),
            "an unknown install mode" to json(more = """, "install_mode": "wipe""""),
            "half a window" to json(more = """, "window": {"start": "22:00"}"""),
            "an intent without an action" to json(more = """, "post_install": {"restart_intent": {"action": ""}}"""),
            "an id that is an object" to json(deployment = "{}"),
            "an id that is null" to json(deployment = "null"),
            "a list" to "[]",
            "no JSON" to "deploy!",
            "nothing" to "",
            "a hundred thousand brackets" to "[".repeat(60_000),
            "too much" to " ".repeat(70_000) + json(),
        ).map { (name, text) ->
            DynamicTest.dynamicTest(name) { assertIs<Incoming.Rejected>(CommandParser.fromJson(text)) }
        }

    @Test
    fun `what is refused says of whom, so that the server can be told`() {
        val rejected = assertIs<Incoming.Rejected>(CommandParser.fromJson(json(schema = "2")))
        assertEquals(JobKey(Id("d-1"), 2), rejected.key)
        assertEquals("schema 2 is not understood", rejected.why)
    }

    @Property(tries = 500)
    fun `any push is answered, never thrown`(
        @ForAll @Size(max = 3) more: Map<
            @StringLength(max = 10)
            String,
            @StringLength(max = 40)
            String,
        >,
        @ForAll @StringLength(max = 60) text: String,
    ) {
        CommandParser.fromPush(push + more + ("apk" to text))
        CommandParser.fromPush(push + ("deployment_id" to text) + ("attempt" to text))
        CommandParser.fromJson(text)
    }
}
