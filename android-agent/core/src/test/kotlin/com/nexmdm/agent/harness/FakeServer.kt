package com.nexmdm.agent.harness

import com.nexmdm.agent.net.HttpExchange
import com.nexmdm.agent.net.HttpRequest
import com.nexmdm.agent.net.HttpTransport
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import java.io.InputStream
import java.io.SequenceInputStream
import java.net.ConnectException
import java.net.SocketException
import java.time.Instant

/** One deployment for one device, with the rules for reports that the real server has. */
class FakeServer(private val fuse: Fuse) : HttpTransport {
    class Order(
        val apk: ByteArray,
        val packageName: String = "com.shop.till",
        val versionCode: Int = 121,
        val sha256: String = sha256(apk),
        val signer: ByteArray = ApkFactory.signerA,
        val mode: String = "update",
        val intent: String? = null,
        val constraints: String = """{"wifi_only": true, "min_battery": 40}""",
        val window: String = "null",
    )

    data class Applied(val attempt: Int, val status: String, val code: String?)

    var order: Order? = null
    var attempt = 0
    var status = "queued"
    var gone: String? = null
    var windowOpen: Boolean? = true
    var schema = 1
    var retries = 3

    /** The request of this number never comes; of that one the answer is lost. */
    var losesRequest = 0
    var losesAnswer = 0

    /** Of no answer more than so many bytes of the APK come. */
    var cutsAfter = Int.MAX_VALUE
    var served: (FakeServer) -> ByteArray = { it.order?.apk ?: ByteArray(0) }
    var onRequest: (String) -> Unit = {}
    val applied = mutableListOf<Applied>()
    val refused = mutableListOf<String>()
    var lastPostInstall: String? = null

    /** So many addresses of the APK are no longer valid when they are used. */
    var expired = 0
    val asked = mutableListOf<String>()
    val requests: Int get() = asked.size
    private val lastSeq = HashMap<Int, Int>()

    var isRestored = false
        private set
    val isSettled: Boolean get() = status in FINAL

    override fun open(request: HttpRequest): HttpExchange =
        fuse.around {
            asked += request.url
            if (requests == losesRequest) throw ConnectException("no route")
            onRequest(request.url)
            answer(request).also { if (requests == losesAnswer) throw SocketException("connection reset") }
        }

    private fun answer(request: HttpRequest): HttpExchange {
        val path = request.url.removePrefix(BASE).substringBefore('?')
        return when {
            path == "/v1/agent/enroll" ->
                Reply(201, """{"device_id": 7, "device_token": "t", "checkin_interval_sec": 60}""")
            path.endsWith("/heartbeat") -> Reply(200, heartbeat())
            path.startsWith("/v1/agent/deployments/") && !path.startsWith(OURS) -> unknown()
            forgottenFor > 0 && path.startsWith(OURS) -> unknown()
            path.endsWith("/status") -> report(json(request))
            path.startsWith(OURS) -> confirm(request.url.substringAfter("attempt=").toInt())
            path.startsWith("/v1/artifacts/") -> artifact(request)
            else -> unknown()
        }
    }

    private fun unknown() = Reply(404, """{"type": "about:blank", "title": "Not found", "status": 404}""")

    /**
     * From a backup that was taken before this deployment sent anything, or even before it was there: then it is begun
     * again, under the same number, only after so many heartbeats.
     */
    fun restored(unknownFor: Int = 0) {
        isRestored = true
        attempt = 0
        status = "queued"
        forgottenFor = unknownFor
        lastSeq.clear()
        applied.clear()
    }

    private fun json(request: HttpRequest): JsonObject = Json.parseToJsonElement(
        String(request.body ?: ByteArray(0)),
    ).jsonObject

    private fun heartbeat(): String {
        if (forgottenFor > 0) forgottenFor--
        val isWanted = order != null && gone == null && forgottenFor == 0
        if (isWanted && status == "queued") {
            attempt++
            status = "sending"
        }
        val commands = if (status == "sending" && gone == null) command() else ""
        return """{"server_time": "2026-11-24T10:00:00+00:00", "checkin_interval_sec": 60, "commands": [$commands]}"""
    }

    private fun confirm(asked: Int): HttpExchange {
        val why = gone ?: if (asked != attempt || isSettled || status == "queued") "settled" else null
        return if (why == null) Reply(200, command()) else Reply(410, """{"status": "skipped", "reason": "$why"}""")
    }

    private fun command(): String {
        val now = checkNotNull(order)
        val intent = now.intent?.let { """{"restart_intent": {"action": "$it", "extras": {}}}""" } ?: "{}"
        return """{"action": "deploy_apk", "schema": $schema, "deployment_id": 42, "device_id": 7, "attempt": $attempt,
            "issued_at": "2026-11-24T10:00:00+00:00", "expires_at": "2026-11-24T12:00:00+00:00",
            "apk": {"package": "${now.packageName}", "version_code": ${now.versionCode}, "version_name": "x",
              "url": "/v1/artifacts/${now.sha256}.apk?sig=$requests", "sha256": "${now.sha256}",
              "size_bytes": ${now.apk.size}, "signer_sha256": ["${sha256(now.signer)}"]},
            "constraints": ${now.constraints}, "window": ${now.window}, "install_mode": "${now.mode}",
            "post_install": $intent, "server_time": "2026-11-24T10:00:00+00:00", "window_open": $windowOpen}"""
    }

    private fun report(body: JsonObject): HttpExchange {
        val said = body.getValue("status").jsonPrimitive.content
        val about = body.getValue("attempt").jsonPrimitive.int
        val seq = body.getValue("seq").jsonPrimitive.int
        val code = body["error_code"]?.jsonPrimitive?.content
        val repeated = seq <= (lastSeq[about] ?: 0)
        if (repeated) return state(200)
        if (about != attempt || isSettled) {
            refused += "$about $said $code"
            return state(409)
        }
        lastSeq[about] = seq
        applied += Applied(about, said, code)
        occurredAt += Instant.parse(body.getValue("occurred_at").jsonPrimitive.content)
        status = settled(said, code)
        lastPostInstall = body["post_install"]?.jsonPrimitive?.content ?: lastPostInstall
        return state(200).also { if (isSettled) onSettled() }
    }

    private fun settled(said: String, code: String?): String =
        when {
            said == "succeeded" -> said
            said == "skipped" && gone != null -> said
            said == "skipped" && code in STOPPED -> "queued"
            said == "skipped" -> "device_condition".also { conditions += code.orEmpty() }
            said == "failed" && code in MENDABLE && retries-- > 0 -> "queued"
            said == "failed" -> said
            else -> "installing"
        }

    var onSettled: () -> Unit = {}
    private var forgottenFor = 0

    val conditions = mutableListOf<String>()
    val occurredAt = mutableListOf<Instant>()

    /** What the server does about a device that has been silent for too long: another attempt, if still wanted. */
    fun timeOut() {
        if (!isSettled) status = if (gone == null) "queued" else "skipped"
    }

    private fun state(http: Int): Reply =
        Reply(http, """{"status": "$status", "attempt": $attempt, "final": $isSettled, "cancel": ${gone != null}}""")

    private fun artifact(request: HttpRequest): HttpExchange {
        if (expired-- > 0) return Reply(403, "")
        val all = served(this)
        val from = request.headers["Range"]?.removePrefix("bytes=")?.removeSuffix("-")?.toInt() ?: 0
        val part = all.copyOfRange(from, all.size)
        val headers =
            mapOf("ETag" to "\"${order?.sha256}\"", "Content-Length" to "${part.size}") +
                if (from > 0) mapOf("Content-Range" to "bytes $from-${all.size - 1}/${all.size}") else emptyMap()
        return Reply(if (from > 0) 206 else 200, part, headers, cutsAfter)
    }

    class Reply(
        override val status: Int,
        private val bytes: ByteArray,
        private val headers: Map<String, String> = emptyMap(),
        cutsAfter: Int = Int.MAX_VALUE,
    ) : HttpExchange {
        constructor(status: Int, text: String) : this(status, text.toByteArray())

        private val stream =
            bytes.inputStream(0, minOf(bytes.size, cutsAfter))
                .let { if (bytes.size <= cutsAfter) it else SequenceInputStream(it, Broken) }

        override fun header(name: String): String? = headers[name]

        override fun body(): InputStream = stream

        override fun close() = Unit
    }

    private object Broken : InputStream() {
        override fun read(): Int = throw SocketException("connection reset")
    }

    companion object {
        const val OURS = "/v1/agent/deployments/42/devices/7"
        const val BASE = "https://server.test"
        private val FINAL = setOf("succeeded", "failed", "skipped", "device_condition")
        private val STOPPED = setOf("canceled", "settled")
        private val MENDABLE =
            setOf(
                "checksum_mismatch",
                "install_aborted",
                "install_internal",
                "download_network",
                "reinstall_incomplete",
            )
    }
}
