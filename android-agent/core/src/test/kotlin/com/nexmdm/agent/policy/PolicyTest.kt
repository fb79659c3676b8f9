package com.nexmdm.agent.policy

import com.nexmdm.agent.apk.ApkSigners
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.Constraints
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.model.SkipReason
import com.nexmdm.agent.model.Window
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.time.Instant
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

class PolicyTest {
    private val fit = DeviceSnapshot(Network.WIFI, metered = false, battery = 40, charging = true, freeStorageMb = 200)
    private val strict = Constraints(wifiOnly = true, minBattery = 40, chargingOnly = true, minFreeMb = 200)

    private class Row(val says: String, val device: DeviceSnapshot, val asked: Constraints, val want: SkipReason?)

    @TestFactory
    fun conditions(): List<DynamicTest> =
        listOf(
            Row("all just met", fit, strict, null),
            Row("nothing could be read", DeviceSnapshot(), strict, null),
            Row("ethernet is as good as wifi", fit.copy(network = Network.ETHERNET), strict, null),
            Row("mobile data where wifi is asked", fit.copy(network = Network.CELLULAR), strict, SkipReason.NO_WIFI),
            Row("no network where wifi is asked", fit.copy(network = Network.NONE), strict, SkipReason.NO_WIFI),
            Row(
                "mobile and metered where nothing is asked",
                fit.copy(network = Network.CELLULAR, metered = true),
                Constraints(),
                null,
            ),
            Row("a metered wifi", fit.copy(metered = true), strict, SkipReason.METERED_NETWORK),
            Row("one percent too low", fit.copy(battery = 39), strict, SkipReason.BATTERY_LOW),
            Row("an empty battery where none is asked", fit.copy(battery = 0), Constraints(), null),
            Row("not on the charger", fit.copy(charging = false), strict, SkipReason.NOT_CHARGING),
            Row("one megabyte too little", fit.copy(freeStorageMb = 199), strict, SkipReason.LOW_STORAGE),
            Row("a call", fit.copy(inCall = true), strict, SkipReason.IN_CALL),
            Row("a customer paying", fit.copy(inUse = true), Constraints(), SkipReason.IN_USE),
            Row(
                "the network is named before the battery",
                fit.copy(Network.NONE, battery = 1),
                strict,
                SkipReason.NO_WIFI,
            ),
            Row(
                "the battery is named before the storage",
                fit.copy(battery = 1, freeStorageMb = 1),
                strict,
                SkipReason.BATTERY_LOW,
            ),
            Row(
                "the storage is named before the call",
                fit.copy(freeStorageMb = 1, inCall = true),
                strict,
                SkipReason.LOW_STORAGE,
            ),
        ).map { row ->
            DynamicTest.dynamicTest(row.says) {
                assertEquals(row.want, Conditions.missed(row.device, row.asked, 1_000_000)?.reason)
            }
        }

    @Test
    fun `without a number the least free space is two and a half APKs and 128 MB`() {
        assertEquals(128 + 250, Conditions.leastFreeMb(100L * 1024 * 1024))
        val least = Constraints()
        assertNull(Conditions.missed(fit.copy(freeStorageMb = 378), least, 100L * 1024 * 1024))
        assertNotNull(Conditions.missed(fit.copy(freeStorageMb = 377), least, 100L * 1024 * 1024))
    }

    @Test
    fun `once the session is open the room that it takes need not be free, the rest is asked as before`() {
        fun lost(now: DeviceSnapshot) = Conditions.lost(now, strict, apkBytes = 50L * 1024 * 1024)?.reason
        assertNull(lost(fit.copy(freeStorageMb = 150)))
        assertEquals(SkipReason.LOW_STORAGE, lost(fit.copy(freeStorageMb = 149)))
        assertEquals(SkipReason.IN_CALL, lost(fit.copy(inCall = true)))
        assertEquals(SkipReason.METERED_NETWORK, lost(fit.copy(metered = true)))
        assertEquals(SkipReason.BATTERY_LOW, lost(fit.copy(battery = 39)))
    }

    private val night = Window(days = listOf("fri"), start = "22:00", end = "05:00", tz = "Europe/Berlin")

    @TestFactory
    fun windows(): List<DynamicTest> =
        listOf(
            Triple("no window", null, "2026-01-01T00:00:00Z") to true,
            Triple("a second before Friday night", night, "2026-11-27T20:59:59Z") to false,
            Triple("Friday night begins", night, "2026-11-27T21:00:00Z") to true,
            Triple("Saturday before dawn belongs to Friday", night, "2026-11-28T03:59:59Z") to true,
            Triple("its end is outside", night, "2026-11-28T04:00:00Z") to false,
            Triple("Friday before dawn belongs to Thursday", night, "2026-11-27T01:00:00Z") to false,
            // Clocks go back on Sunday 25 October 2026, forward on Sunday 29 March.
            Triple("the longer night ends an hour later", night.copy(days = listOf("sat")), "2026-10-25T03:30:00Z") to
                true,
            Triple(
                "the shorter night ends an hour earlier",
                night.copy(days = listOf("sat")),
                "2026-03-29T03:30:00Z",
            ) to
                false,
            Triple(
                "the shorter night before its end",
                night.copy(days = listOf("sat")),
                "2026-03-29T02:59:00Z",
            ) to true,
            Triple("from ten to ten is a day and a night", night.copy(end = "22:00"), "2026-11-28T20:59:59Z") to true,
            Triple("the device's own zone", night.copy(tz = "device"), "2026-11-27T15:00:00Z") to true,
            Triple("every day", night.copy(days = null), "2026-11-24T22:00:00Z") to true,
            Triple("a zone that nobody knows", night.copy(tz = "Mars/Olympus"), "2026-11-27T22:00:00Z") to false,
            Triple("a time that is none", night.copy(start = "25:00"), "2026-11-27T22:00:00Z") to false,
        ).map { (row, open) ->
            DynamicTest.dynamicTest(row.first) {
                assertEquals(open, Windows.isOpen(row.second, Instant.parse(row.third), "Asia/Tokyo"))
            }
        }

    @Test
    fun `an absolute window opens at its start and is closed at its end`() {
        val (start, end) = Instant.parse("2026-11-24T10:00:00Z") to Instant.parse("2026-11-24T11:00:00Z")
        val window = Window(startIso = start, endIso = end)
        assertEquals(
            listOf(false, true, true, false),
            listOf(start.minusMillis(1), start, end.minusMillis(1), end).map { Windows.isOpen(window, it, null) },
        )
    }

    private val a = "a".repeat(64)
    private val b = "b".repeat(64)
    private val c = "c".repeat(64)

    private fun installedBy(vararg signers: String) = InstalledPackage("p.q", 1, signers = signers.toSet())

    @TestFactory
    fun signers(): List<DynamicTest> {
        fun signed(
            vararg current: String,
            lineage: List<String> = emptyList(),
        ) = ApkSigners("v3", current.toList(), lineage)
        return listOf(
            Triple("the same signer", signed(a), installedBy(a)) to true,
            Triple("not installed, expected by the server", signed(a), null) to true,
            Triple("not expected by the server", signed(c), installedBy(c)) to false,
            Triple("expected by the server, but the installed app is another's", signed(a), installedBy(b)) to false,
            Triple("rotated from the installed signer", signed(b, lineage = listOf(a, b)), installedBy(a)) to true,
            Triple("rotated from somebody else", signed(b, lineage = listOf(c, b)), installedBy(a)) to false,
            Triple("the installed signer could not be read", signed(a), installedBy()) to true,
            Triple("no signer at all", signed(), installedBy(a)) to false,
            Triple("two signers, the same two", signed(a, b), installedBy(b, a)) to true,
            Triple("two signers, one of them installed", signed(a, b), installedBy(a)) to false,
            Triple("one of two installed signers", signed(a), installedBy(a, b)) to false,
        ).map { (row, fine) ->
            DynamicTest.dynamicTest(row.first) {
                assertEquals(fine, Signers.objection(row.second, listOf(a, b), row.third) == null)
            }
        }
    }

    @Test
    fun `an update goes upwards, a reinstall anywhere`() {
        val apk = ApkSpec("p.q", 5, null, "u", a, 1, listOf(a))

        fun standing(code: Long, mode: InstallMode) = Versions.standing(
            apk,
            installedBy(a).copy(versionCode = code),
            mode,
        ).name
        assertEquals("TO_DO", Versions.standing(apk, null, InstallMode.UPDATE).name)
        assertEquals(
            listOf("TO_DO", "ALREADY_THERE", "NEWER_THERE"),
            listOf(4L, 5L, 6L).map {
                standing(it, InstallMode.UPDATE)
            },
        )
        assertEquals(
            listOf("TO_DO", "ALREADY_THERE", "TO_DO"),
            listOf(4L, 5L, 6L).map {
                standing(it, InstallMode.REINSTALL)
            },
        )
    }

    @Test
    fun `pauses grow to their limit, and what the server asks for is the least`() {
        val backoff = Backoff(1_000, 60_000)
        assertEquals(0, backoff.pauseMs(0, Random(1)))
        for (tries in 1..100) assertTrue(backoff.pauseMs(tries, Random(tries)) in 500..60_000)
        assertTrue(backoff.pauseMs(50, Random(1)) >= 30_000)
        assertEquals(90_000, backoff.pauseMs(1, Random(1), 90_000))
        assertEquals(3_600_000, backoff.pauseMs(1, Random(1), Long.MAX_VALUE))
        for (seed in 1..50) assertTrue(Backoff.jittered(60, Random(seed)) in 54_000..66_000)
    }

    /** The highest that chance can give. */
    private object Highest : Random() {
        override fun nextBits(bitCount: Int): Int = -1 ushr (32 - bitCount)

        override fun nextLong(until: Long): Long = until - 1
    }

    @Test
    fun `the longest pauses are just as long as they are meant to be`() {
        assertEquals(listOf(1_000L, 2_000L, 4_000L), (1..3).map { Backoff(1_000, 60_000).pauseMs(it, Highest) })
        assertEquals(60_000, Backoff(1_000, 60_000).pauseMs(99, Highest))
        assertEquals(66_000, Backoff.jittered(60, Highest))
    }

    @Test
    fun `what was missed is told with what was seen and what is asked`() {
        val worst = DeviceSnapshot(Network.CELLULAR, battery = 3, charging = false, freeStorageMb = 5)
        assertEquals("network is cellular", Conditions.missed(worst, strict, 1)?.text)
        val tired = worst.copy(network = null)
        assertEquals("battery at 3 %, 40 % asked", Conditions.missed(tired, strict, 1)?.text)
        val full = tired.copy(battery = null, charging = null)
        assertEquals("5 MB free, 200 MB asked", Conditions.missed(full, strict, 1)?.text)
        val said = InstallStatus.verdict(PlatformStatus(1, -4, null)) as InstallVerdict.Failed
        assertEquals("install status 1/-4", said.text)
        val foreign = Signers.objection(ApkSigners("v2", listOf(c), emptyList()), listOf(a, b), null)
        assertEquals("signed by cccccccccccc, the server expects aaaaaaaaaaaa,bbbbbbbbbbbb", foreign)
    }

    @TestFactory
    fun `what the platform says becomes`(): List<DynamicTest> =
        listOf(
            PlatformStatus(1, -4, null) to FailureCode.INSUFFICIENT_STORAGE,
            PlatformStatus(5, null, "INSTALL_FAILED_UPDATE_INCOMPATIBLE: x") to FailureCode.SIGNATURE_MISMATCH,
            PlatformStatus(5, null, "odd") to FailureCode.INSTALL_CONFLICT,
            PlatformStatus(7, -111, "INSTALL_FAILED_USER_RESTRICTED") to FailureCode.NOT_PERMITTED,
            PlatformStatus(3, -22, null) to FailureCode.VERIFIER_BLOCKED,
            PlatformStatus(3, -21, null) to FailureCode.VERIFIER_TIMEOUT,
            PlatformStatus(3, null, "Session was abandoned") to FailureCode.INSTALL_ABORTED,
            PlatformStatus(2, null, null) to FailureCode.INSTALL_BLOCKED,
            PlatformStatus(4, -25, null) to FailureCode.VERSION_DOWNGRADE,
            PlatformStatus(4, null, null) to FailureCode.APK_INVALID,
            PlatformStatus(6, null, null) to FailureCode.INSUFFICIENT_STORAGE,
            PlatformStatus(7, -12, null) to FailureCode.SDK_TOO_OLD,
            PlatformStatus(8, null, null) to FailureCode.INSTALL_TIMEOUT,
            PlatformStatus(1, null, "There is already a pending install for the same package") to
                FailureCode.INSTALL_ABORTED,
            PlatformStatus(99, -999, "INSTALL_FAILED_FROM_THE_FUTURE") to FailureCode.INSTALL_INTERNAL,
        ).map { (said, code) ->
            DynamicTest.dynamicTest("$code from $said") {
                assertEquals(code, (InstallStatus.verdict(said) as InstallVerdict.Failed).code)
            }
        }

    @Test
    fun `done is done and a question is a question`() {
        assertEquals(InstallVerdict.Done, InstallStatus.verdict(PlatformStatus(0)))
        assertEquals(InstallVerdict.AskPerson, InstallStatus.verdict(PlatformStatus(-1)))
    }

    @Test
    fun `every code of this agent is one that the contract names`() {
        val contract =
            """
            checksum_mismatch, size_mismatch, signature_mismatch, signature_invalid, package_mismatch,
            version_mismatch, version_downgrade, not_permitted, user_declined, insufficient_storage, apk_invalid,
            sdk_too_old, abi_incompatible, download_http, download_network, download_timeout, url_expired,
            verifier_blocked, verifier_timeout, install_aborted, install_blocked, install_conflict,
            install_internal, install_timeout, session_limit, result_mismatch, reinstall_incomplete,
            not_healthy, timed_out, no_answer, re_enrolled, internal
            """.trim().split(Regex(",\\s+")).toSet()
        val serversOwn = setOf("not_healthy", "timed_out", "no_answer", "re_enrolled")
        assertEquals(contract - serversOwn, FailureCode.entries.map { it.wire }.toSet())
        val reasons =
            setOf("no_wifi", "metered_network", "battery_low", "not_charging", "low_storage", "in_call", "in_use") +
                setOf("outside_window", "newer_installed", "canceled")
        assertEquals(reasons, SkipReason.entries.map { it.wire }.toSet())
    }
}
