package com.nexmdm.agent.sim

import java.nio.file.Path

/** What goes wrong on a device, on purpose. */
internal enum class FaultKind {
    /** Every download comes with a flipped bit. */
    CHECKSUM,

    /** Every connection to an artifact breaks after so many kilobytes. */
    DROPS,

    /** The installed app is another signer's. */
    SIGNER,

    /** No room for a session; with kilobytes, none beyond them. */
    NO_SPACE,

    /** Neither device owner nor anybody to ask. */
    NOT_PERMITTED,

    /** Not device owner; the person who is asked says no. */
    DECLINES,

    /** The platform refuses with a failure code. */
    INSTALL,

    /** Enrolled, and never heard of again. */
    OFFLINE,
    LOW_BATTERY,
    NO_WIFI,
    METERED,
    IN_CALL,
    IN_USE,

    /** A call comes in when the download has begun. */
    CALL_COMES,

    /** The restart intent does not resolve. */
    NO_RESTART,

    /** The clock is wrong by so many days. */
    CLOCK,

    /** A new process after every report. */
    CRASH,
}

internal data class Fault(val kind: FaultKind, val detail: String?, val devices: IntRange)

/** The faults of one device. */
internal class Faults(private val all: List<Fault>) {
    operator fun contains(kind: FaultKind): Boolean = all.any { it.kind == kind }

    fun detail(kind: FaultKind): String? = all.firstOrNull { it.kind == kind }?.detail

    fun bytes(kind: FaultKind): Long? = detail(kind)?.let { it.toLong() * 1024 }
}

/** At a [speed] of N the agents take N seconds for one: pauses that would be hours pass in a test. */
internal data class Options(
    val server: String,
    val enrollmentToken: String?,
    val devices: Int,
    val packageName: String,
    val code: Long,
    val state: Path,
    val installMs: Long,
    val speed: Long,
    val faults: List<Fault>,
) {
    fun faultsOf(device: Int): Faults = Faults(faults.filter { device in it.devices })

    companion object {
        val USAGE =
            """
            java -jar sim.jar --server URL --state DIR [--devices N] [--package P] [--code N] [--install-ms N]
                [--speed N] [--fault KIND[=DETAIL][:FROM[-TO]]] …   with ENROLLMENT_TOKEN in the environment
            faults: ${FaultKind.entries.joinToString { it.name.lowercase() }}
            """.trimIndent()
        private val FAULT = Regex("([a-z_]+)(?:=(-?[A-Za-z0-9_]+))?(?::(\\d+(?:-\\d+)?))?")
        private val NAMES = setOf("server", "devices", "package", "code", "state", "install-ms", "speed", "fault")

        /** @throws IllegalArgumentException that says what is wrong. */
        fun parse(arguments: List<String>, enrollmentToken: String? = null): Options {
            require(arguments.size % 2 == 0) { "every option has a value" }
            val given = arguments.chunked(2).groupBy({ it[0].removePrefix("--").also(::known) }, { it[1] })

            fun one(name: String): String? = given[name]?.last()
            return Options(
                server = requireNotNull(one("server")) { "--server is missing" }.trimEnd('/'),
                enrollmentToken = enrollmentToken,
                devices = one("devices")?.toInt() ?: 1,
                packageName = one("package") ?: SimAgent.AGENT_PACKAGE,
                code = one("code")?.toLong() ?: 120,
                state = Path.of(requireNotNull(one("state")) { "--state is missing" }),
                installMs = one("install-ms")?.toLong() ?: 1_000,
                speed = one("speed")?.toLong() ?: 1,
                faults = given["fault"].orEmpty().map(::fault),
            )
        }

        private fun known(name: String) = require(name in NAMES) { "unknown option --$name" }

        private fun fault(text: String): Fault {
            val (kind, detail, range) =
                requireNotNull(FAULT.matchEntire(text)) { "malformed fault $text" }.destructured
            val known = FaultKind.entries.firstOrNull { it.name.lowercase() == kind }
            return Fault(requireNotNull(known) { "unknown fault $kind" }, detail.ifEmpty { null }, devices(range))
        }

        private fun devices(range: String): IntRange {
            if (range.isEmpty()) return 0..Int.MAX_VALUE
            val ends = range.split('-').map(String::toInt)
            return ends.first()..ends.last()
        }
    }
}
