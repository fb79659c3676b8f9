package com.nexmdm.agent.sim

import java.nio.file.Path

/** What goes wrong on a device, on purpose. [detail] is a failure code for `install`, kilobytes for `drops`. */
internal data class Fault(val kind: String, val detail: String?, val devices: IntRange)

internal data class Options(
    val server: String,
    val enrollmentToken: String?,
    val devices: Int,
    val packageName: String,
    val code: Long,
    val state: Path,
    val installMs: Long,
    val faults: List<Fault>,
) {
    fun faultsOf(device: Int): List<Fault> = faults.filter { device in it.devices }

    companion object {
        val USAGE =
            """
            java -jar sim.jar --server URL --state DIR [--enrollment-token T] [--devices N] [--package P] [--code N]
                [--install-ms N] [--fault KIND[=DETAIL][:FROM[-TO]]] …
            faults: checksum, drops[=KB], signer, no_space, not_permitted, install=CODE, offline, low_battery,
                no_wifi, metered, in_call, in_use, crash
            """.trimIndent()
        val KINDS =
            setOf("checksum", "drops", "signer", "no_space", "not_permitted", "install", "offline") +
                setOf("low_battery", "no_wifi", "metered", "in_call", "in_use", "crash")
        private val FAULT = Regex("([a-z_]+)(?:=([A-Za-z0-9_]+))?(?::(\\d+)(?:-(\\d+))?)?")
        private val NAMES =
            setOf("server", "enrollment-token", "devices", "package", "code", "state", "install-ms", "fault")

        fun parse(arguments: List<String>): Options {
            require(arguments.size % 2 == 0) { "every option has a value" }
            val given =
                arguments.chunked(2).groupBy({ it[0].removePrefix("--").also(::known) }, { it[1] })

            fun one(name: String): String? = given[name]?.last()
            return Options(
                server = requireNotNull(one("server")) { "--server is missing" }.trimEnd('/'),
                enrollmentToken = one("enrollment-token"),
                devices = one("devices")?.toInt() ?: 1,
                packageName = one("package") ?: "com.nexmdm",
                code = one("code")?.toLong() ?: 120,
                state = Path.of(requireNotNull(one("state")) { "--state is missing" }),
                installMs = one("install-ms")?.toLong() ?: 1_000,
                faults = given["fault"].orEmpty().map(::fault),
            )
        }

        private fun known(name: String) = require(name in NAMES) { "unknown option --$name" }

        private fun fault(text: String): Fault {
            val parts = requireNotNull(FAULT.matchEntire(text)) { "malformed fault $text" }.groupValues
            require(parts[1] in KINDS) { "unknown fault ${parts[1]}" }
            val from = parts[3].toIntOrNull()
            return Fault(
                parts[1],
                parts[2].ifEmpty { null },
                if (from == null) 0..Int.MAX_VALUE else from..(parts[4].toIntOrNull() ?: from),
            )
        }
    }
}
