package com.nexmdm.agent.sim

import com.nexmdm.agent.harness.ApkFactory
import com.nexmdm.agent.harness.sha256
import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.AfterEach
import java.io.IOException
import java.net.InetSocketAddress
import java.nio.file.Files
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executors
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull

/** Whole agents over real sockets, against a server that knows just enough of the contract. */
class FleetTest {
    private val apk = ApkFactory.apk("com.nexmdm", 121, filler = 300_000)
    private val folder = Files.createTempDirectory("fleet")
    private val threads = Executors.newCachedThreadPool()
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 50).apply { executor = threads }
    private val devices = AtomicInteger()
    private val serials = ConcurrentHashMap<String, String>()
    private val ended = ConcurrentHashMap<String, String>()
    private val finals = LinkedBlockingQueue<Pair<String, String>>()

    init {
        server.createContext("/") { exchange ->
            try {
                exchange.use(::answer)
            } catch (_: IOException) {
                // A client that cuts the connection is part of the test.
                return@createContext
            }
        }
        server.start()
    }

    @AfterEach
    fun stop() {
        server.stop(0)
        threads.shutdownNow()
        folder.toFile().deleteRecursively()
    }

    private fun answer(exchange: HttpExchange) {
        val path = exchange.requestURI.path
        val body = exchange.requestBody.readBytes().decodeToString()
        when {
            path.endsWith("/enroll") -> exchange.json(201, enrol(json(body)))
            path.endsWith("/heartbeat") -> exchange.json(200, beat(path.split('/')[4]))
            path.endsWith("/status") -> exchange.json(200, report(path.split('/')[6], json(body)))
            path.startsWith("/v1/agent/deployments/") -> confirm(exchange, path.split('/')[6])
            else -> artifact(exchange)
        }
    }

    private fun json(text: String): JsonObject = Json.parseToJsonElement(text).jsonObject

    private fun enrol(body: JsonObject): String {
        val id = "${devices.incrementAndGet()}"
        serials[id] = body.getValue("serial").jsonPrimitive.content
        return """{"device_id": $id, "device_token": "t$id", "checkin_interval_sec": 1}"""
    }

    private fun beat(device: String): String {
        val commands = if (ended.containsKey(device)) "" else command(device)
        return """{"server_time": "2026-11-24T10:00:00+00:00", "checkin_interval_sec": 1, "commands": [$commands]}"""
    }

    private fun command(device: String): String =
        """{"action": "deploy_apk", "schema": 1, "deployment_id": "d", "device_id": $device, "attempt": 1,
            "apk": {"package": "com.nexmdm", "version_code": 121, "url": "/v1/artifacts/a.apk",
              "sha256": "${sha256(apk)}", "size_bytes": ${apk.size},
              "signer_sha256": ["${sha256(ApkFactory.signerA)}"]},
            "constraints": {"wifi_only": true, "min_battery": 40}, "window_open": true}"""

    private fun confirm(exchange: HttpExchange, device: String) {
        val over = ended[device]
        if (over == null) return exchange.json(200, command(device))
        exchange.json(410, """{"status": "$over", "reason": "settled"}""")
    }

    private fun report(device: String, body: JsonObject): String {
        val status = body.getValue("status").jsonPrimitive.content
        val isFinal = status in setOf("succeeded", "failed", "skipped")
        if (isFinal && ended.putIfAbsent(device, status) == null) {
            finals += serials.getValue(device).takeLast(5) to (body["error_code"]?.jsonPrimitive?.content ?: status)
        }
        return """{"status": "$status", "attempt": 1, "final": $isFinal, "cancel": false}"""
    }

    private fun artifact(exchange: HttpExchange) {
        val from = exchange.requestHeaders.getFirst("Range")?.removePrefix("bytes=")?.removeSuffix("-")?.toInt() ?: 0
        if (from > 0) exchange.responseHeaders["Content-Range"] = "bytes $from-${apk.size - 1}/${apk.size}"
        exchange.sendResponseHeaders(if (from > 0) 206 else 200, (apk.size - from).toLong())
        exchange.responseBody.write(apk, from, apk.size - from)
    }

    private fun HttpExchange.json(status: Int, text: String) {
        sendResponseHeaders(status, text.length.toLong())
        responseBody.write(text.toByteArray())
    }

    @Test
    fun `each device ends as scripted`() {
        val wanted =
            mapOf(
                null to "succeeded",
                "checksum" to "checksum_mismatch",
                "signer" to "signature_mismatch",
                "no_space" to "insufficient_storage",
                "no_space=200" to "insufficient_storage",
                "not_permitted" to "not_permitted",
                "declines" to "user_declined",
                "install=verifier_blocked" to "verifier_blocked",
                "in_call" to "in_call",
                "call_comes" to "in_call",
                "in_use" to "in_use",
                "low_battery" to "battery_low",
                "no_wifi" to "no_wifi",
                "metered" to "metered_network",
                "drops=100" to "succeeded",
                "crash" to "succeeded",
                "clock=-9000" to "succeeded",
                "clock=9000" to "succeeded",
            ).toList()
        val faults = wanted.mapIndexedNotNull { device, (fault, _) -> fault?.let { "$it:$device" } }
        val lines = LinkedBlockingQueue<String>()
        val seen =
            Fleet(options(wanted.size, faults), Lines(lines::add)).use { fleet ->
                fleet.start()
                List(wanted.size) { assertNotNull(finals.poll(30, TimeUnit.SECONDS), "only $ended") }.toMap()
            }
        assertEquals(wanted.map { it.second }, wanted.indices.map { seen["%05d".format(it)] })
        val received = lines.map(::json).filter { it["state"]?.jsonPrimitive?.content == "received" }
        assertEquals(wanted.size, received.map { it["device"] }.distinct().size)
    }

    private fun options(devices: Int, faults: List<String>): Options {
        val address = "http://127.0.0.1:${server.address.port}"
        val plain = listOf("--server", address, "--state", "$folder", "--devices", "$devices", "--install-ms", "50")
        return Options.parse(plain + faults.flatMap { listOf("--fault", it) }, enrollmentToken = "e")
    }

    @Test
    fun `options say what is wrong with them`() {
        fun message(vararg arguments: String) =
            assertFailsWith<IllegalArgumentException> { Options.parse(arguments.toList()) }.message
        assertEquals("--server is missing", message("--state", "x"))
        assertEquals("--state is missing", message("--server", "x"))
        assertEquals("unknown option --colour", message("--colour", "x"))
        assertEquals("unknown fault magic", message("--server", "x", "--state", "y", "--fault", "magic"))
        assertEquals("every option has a value", message("--server"))
    }
}
