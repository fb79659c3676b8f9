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
            "apk": {"package": "com.nexmdm", "version_code": 121, "url": "/v1/artifacts/a.apk", "sha256": "${sha256(
            apk,
        )}",
            "size_bytes": ${apk.size}, "signer_sha256": ["${sha256(ApkFactory.signerA)}"]},
            "constraints": {"wifi_only": true, "min_battery": 40}, "window_open": true}"""

    private fun confirm(exchange: HttpExchange, device: String) {
        val over = ended[device]
        if (over ==
            null
        ) {
            exchange.json(200, command(device))
        } else {
            exchange.json(410, """{"status": "$over", "reason": "settled"}""")
        }
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
        val faults =
            listOf("checksum:1", "signer:2", "no_space:3", "not_permitted:4", "install=verifier_blocked:5", "in_call:6")
                .plus(listOf("low_battery:7", "no_wifi:8", "metered:9", "drops=100:10", "crash:11"))
        val options =
            Options.parse(
                listOf(
                    "--server",
                    "http://127.0.0.1:${server.address.port}",
                    "--enrollment-token",
                    "e",
                    "--devices",
                    "12",
                ) +
                    listOf("--state", "$folder", "--install-ms", "50") + faults.flatMap { listOf("--fault", it) },
            )
        val seen =
            Fleet(options).use { fleet ->
                fleet.start()
                List(12) { assertNotNull(finals.poll(30, TimeUnit.SECONDS), "only $ended") }.toMap()
            }
        val expected =
            listOf("succeeded", "checksum_mismatch", "signature_mismatch", "insufficient_storage", "not_permitted") +
                listOf(
                    "verifier_blocked",
                    "in_call",
                    "battery_low",
                    "no_wifi",
                    "metered_network",
                    "succeeded",
                    "succeeded",
                )
        assertEquals(expected, (0..11).map { seen["%05d".format(it)] })
    }

    @Test
    fun `options say what is wrong with them`() {
        fun message(
            vararg arguments: String,
        ) = assertFailsWith<IllegalArgumentException> { Options.parse(arguments.toList()) }.message
        assertEquals("--server is missing", message("--state", "x"))
        assertEquals("--state is missing", message("--server", "x"))
        assertEquals("unknown option --colour", message("--colour", "x"))
        assertEquals("unknown fault magic", message("--server", "x", "--state", "y", "--fault", "magic"))
        assertEquals("every option has a value", message("--server"))
    }
}
