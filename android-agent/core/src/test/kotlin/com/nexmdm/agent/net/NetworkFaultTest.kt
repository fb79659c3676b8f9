package com.nexmdm.agent.net

import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.harness.MemorySession
import com.nexmdm.agent.harness.sha256
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.FailureCode
import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Timeout
import java.io.IOException
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.net.Socket
import java.time.Instant
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicLong
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** A real socket, and a server that misbehaves on purpose. What waits for it for ever has failed, too. */
@Timeout(60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class NetworkFaultTest {
    private val apk = ByteArray(400_000) { (it * 7).toByte() }
    private val etag = "\"v1\""
    private val threads = Executors.newCachedThreadPool()
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0).apply { executor = threads }
    private val base = "http://127.0.0.1:${server.address.port}"
    private val session = MemorySession()
    private val asked = mutableListOf<Map<String, List<String>>>()

    @AfterEach
    fun stop() {
        server.stop(0)
        threads.shutdownNow()
    }

    private fun serve(answer: (HttpExchange) -> Unit) {
        server.createContext("/a.apk") { exchange ->
            asked += exchange.requestHeaders.toMap()
            try {
                exchange.use(answer)
            } catch (_: IOException) {
                // The client had enough of it.
                return@createContext
            }
        }
        server.start()
    }

    private fun HttpExchange.offset(): Int =
        requestHeaders.getFirst("Range")?.removePrefix("bytes=")?.removeSuffix("-")?.toInt() ?: 0

    /** A good answer, of which only [limit] bytes come before the connection breaks. */
    private fun HttpExchange.part(limit: Int = Int.MAX_VALUE, tag: String = etag, total: Int = apk.size) {
        val from = offset()
        responseHeaders["ETag"] = tag
        if (from > 0) responseHeaders["Content-Range"] = "bytes $from-${total - 1}/$total"
        sendResponseHeaders(if (from > 0) 206 else 200, (apk.size - from).toLong())
        responseBody.write(apk, from, minOf(limit, apk.size - from))
        responseBody.flush()
    }

    private val clock =
        object : Clock {
            override fun now(): Instant = Instant.EPOCH

            override fun elapsedMs(): Long = System.nanoTime() / 1_000_000
        }

    private fun downloader(
        limits: DownloadLimits = DownloadLimits(syncBytes = 64 * 1024, syncRestMs = 0),
        clock: Clock = this.clock,
        readTimeoutMs: Int = 30_000,
    ) = Downloader(base, UrlConnectionTransport(30_000, readTimeoutMs), session, clock, limits)

    private fun order(offset: Long = 0, etag: String? = null, url: String = "$base/a.apk", size: Int = apk.size) =
        FetchOrder(ApkSpec("com.shop", 2, null, url, sha256(apk), size.toLong(), listOf(sha256(apk))), 1, offset, etag)

    private fun fetch(order: FetchOrder = order()): Fetched = downloader().fetch(order) { _, _ -> true }

    @Test
    fun `a good transfer is complete, whether its address is absolute or not`() {
        serve { it.part() }
        assertEquals(Fetched.Complete, fetch(order(url = "/a.apk")))
        assertContentEquals(apk, session.bytes)
        assertNull(asked.single()["Range"])
    }

    @Test
    fun `cut at every 64 KiB it is resumed where it was, and nothing is sent twice`() {
        serve { it.part(limit = 64 * 1024) }
        val downloader = downloader()
        var order = order()
        var cuts = 0
        while (true) {
            val result = downloader.fetch(order) { _, _ -> true }
            if (result == Fetched.Complete) break
            val cut = assertIs<Fetched.Cut>(result)
            assertTrue(cut.offset > order.offset)
            order = order(cut.offset, cut.etag)
            cuts++
        }
        assertEquals(6, cuts)
        assertContentEquals(apk, session.bytes)
        assertEquals(listOf(etag), asked.last()["If-range"])
    }

    @Test
    fun `a new process reads what is there and goes on`() {
        serve { it.part() }
        session.bytes = apk.copyOf(100_000)
        assertEquals(Fetched.Complete, fetch(order(100_000, etag)))
        assertEquals(listOf("bytes=100000-"), asked.single()["Range"])
    }

    @Test
    fun `everything is there already, so nothing is asked`() {
        session.bytes = apk
        assertEquals(Fetched.Complete, fetch(order(apk.size.toLong(), etag)))
        assertTrue(asked.isEmpty())
    }

    @Test
    fun `200 instead of 206 starts over in the same answer`() {
        serve { exchange ->
            exchange.sendResponseHeaders(200, apk.size.toLong())
            exchange.responseBody.write(apk)
        }
        session.bytes = ByteArray(100_000) { 1 }
        assertEquals(Fetched.Complete, fetch(order(100_000, etag)))
        assertContentEquals(apk, session.bytes)
    }

    @Test
    fun `another ETag in a 206 starts over`() {
        serve { it.part(tag = "\"v2\"") }
        session.bytes = apk.copyOf(100_000)
        assertEquals(0, assertIs<Fetched.Cut>(fetch(order(100_000, etag))).offset)
    }

    @Test
    fun `a range of another file size is a size mismatch`() {
        serve { it.part(total = apk.size + 1) }
        session.bytes = apk.copyOf(100_000)
        assertEquals(FailureCode.SIZE_MISMATCH, assertIs<Fetched.Failed>(fetch(order(100_000, etag))).code)
    }

    @Test
    fun `a lying length is a size mismatch before a byte is taken`() {
        var lie = 0
        serve { exchange ->
            exchange.sendResponseHeaders(200, apk.size + lie.toLong())
            exchange.responseBody.write(apk, 0, apk.size + minOf(lie, 0))
        }
        for (other in listOf(5, -5, 1_000_000_000)) {
            lie = other
            assertEquals(FailureCode.SIZE_MISMATCH, assertIs<Fetched.Failed>(fetch()).code, "$other")
            assertEquals(0, session.bytes.size)
        }
    }

    @Test
    fun `of an endless body no more than the ordered size is taken`() {
        serve { exchange ->
            exchange.sendResponseHeaders(200, 0)
            while (true) exchange.responseBody.write(ByteArray(64 * 1024))
        }
        assertEquals(FailureCode.CHECKSUM_MISMATCH, assertIs<Fetched.Failed>(fetch()).code)
        assertEquals(apk.size, session.bytes.size)
    }

    @Test
    fun `a body that ends early is cut, not complete`() {
        serve { exchange ->
            exchange.sendResponseHeaders(200, 0)
            exchange.responseBody.write(apk, 0, 1000)
        }
        val cut = assertIs<Fetched.Cut>(fetch())
        assertEquals(1000, cut.offset)
        assertEquals(FailureCode.DOWNLOAD_NETWORK, cut.code)
    }

    @Test
    fun `damaged bytes are a checksum mismatch`() {
        serve { exchange ->
            exchange.sendResponseHeaders(200, apk.size.toLong())
            exchange.responseBody.write(apk.clone().also { it[9] = 9 })
        }
        assertEquals(FailureCode.CHECKSUM_MISMATCH, assertIs<Fetched.Failed>(fetch()).code)
    }

    @Test
    fun `a redirect to another host is refused, one on the same host is followed`() {
        server.createContext("/there") { it.use { exchange -> exchange.redirect("/a.apk") } }
        server.createContext("/away") { it.use { exchange -> exchange.redirect("https://elsewhere.test/a.apk") } }
        server.createContext("/plain") { it.use { exchange -> exchange.redirect("http://elsewhere.test/a.apk") } }
        server.createContext("/round") { it.use { exchange -> exchange.redirect("/round") } }
        serve { it.part() }
        assertEquals(Fetched.Complete, fetch(order(url = "$base/there")))
        for (path in listOf("/away", "/plain", "/round")) {
            assertEquals(
                FailureCode.DOWNLOAD_HTTP,
                assertIs<Fetched.Failed>(fetch(order(url = base + path))).code,
                path,
            )
        }
    }

    private fun HttpExchange.redirect(to: String) {
        responseHeaders["Location"] = to
        sendResponseHeaders(302, -1)
    }

    @Test
    fun `each refusal has its meaning`() {
        var status = 0
        serve { exchange ->
            exchange.responseHeaders["Retry-After"] = "7"
            exchange.sendResponseHeaders(status, -1)
        }

        fun answerTo(code: Int): Fetched {
            status = code
            return fetch()
        }
        for (code in listOf(403, 410)) assertIs<Fetched.Expired>(answerTo(code), "$code")
        for (code in listOf(408, 429, 500, 502, 503)) {
            assertEquals(7_000, assertIs<Fetched.Cut>(answerTo(code), "$code").retryAfterMs)
        }
        for (code in listOf(401, 404, 204, 304)) {
            assertEquals(FailureCode.DOWNLOAD_HTTP, assertIs<Fetched.Failed>(answerTo(code), "$code").code)
        }
        assertEquals(0, assertIs<Fetched.Cut>(answerTo(416)).offset)
    }

    @Test
    fun `a fast transfer is synced by time, not by bytes`() {
        serve { it.part() }
        val still =
            object : Clock by clock {
                override fun elapsedMs(): Long = 0
            }
        val syncs = mutableListOf<Long>()
        val limits = DownloadLimits(syncBytes = 64 * 1024, syncRestMs = 1_000)
        downloader(limits, still).fetch(order()) { offset, _ -> syncs.add(offset) }
        assertEquals(emptyList(), syncs)
    }

    @Test
    fun `a server that says nothing is a time-out`() {
        val silence = CountDownLatch(1)
        serve { silence.await() }
        val cut = downloader(readTimeoutMs = 100).fetch(order()) { _, _ -> true }
        silence.countDown()
        assertEquals(FailureCode.DOWNLOAD_TIMEOUT, assertIs<Fetched.Cut>(cut).code)
    }

    @Test
    fun `a trickle is as good as silence`() {
        val trickling =
            object : Clock by clock {
                val now = AtomicLong()

                override fun elapsedMs(): Long = now.addAndGet(20_000)
            }
        serve { it.part() }
        val slow = downloader(DownloadLimits(slowBytes = 1_000_000, slowMs = 30_000), trickling)
        assertEquals(FailureCode.DOWNLOAD_TIMEOUT, assertIs<Fetched.Cut>(slow.fetch(order()) { _, _ -> true }).code)
    }

    @Test
    fun `nobody there is a network failure that keeps what is there`() {
        session.bytes = apk.copyOf(100_000)
        val cut = assertIs<Fetched.Cut>(fetch(order(100_000, etag, url = "http://127.0.0.1:1/a.apk")))
        assertEquals(FailureCode.DOWNLOAD_NETWORK to 100_000L, cut.code to cut.offset)
    }

    @Test
    fun `a full disk is told from a bad network`() {
        serve { it.part() }
        for (room in 0 until apk.size step 64 * 1024) {
            session.full = room
            assertEquals(FailureCode.INSUFFICIENT_STORAGE, assertIs<Fetched.Failed>(fetch()).code)
        }
        session.full = Int.MAX_VALUE
        session.syncsUntilFull = 2
        assertEquals(FailureCode.INSUFFICIENT_STORAGE, assertIs<Fetched.Failed>(fetch()).code)
    }

    @Test
    fun `a refusal is heard with its words, to a question and to a report`() {
        server.createContext("/v1/agent") { exchange ->
            exchange.use {
                val said = it.requestBody.readBytes()
                it.responseHeaders["WWW-Authenticate"] = "Bearer"
                it.sendResponseHeaders(401, said.size.toLong())
                it.responseBody.write(said)
            }
        }
        server.start()
        for (method in listOf("POST", "GET")) {
            val body = "$method: spent".toByteArray().takeIf { method == "POST" }
            UrlConnectionTransport().open(HttpRequest(method, "$base/v1/agent/enroll", body = body)).use {
                assertEquals(401, it.status)
                assertEquals(body?.decodeToString().orEmpty(), it.body().readBytes().decodeToString())
            }
        }
    }

    @Test
    fun `a device that says itself what failed is believed`() {
        serve { it.part() }
        session.refusal = PortFailure(FailureCode.INSTALL_ABORTED, "the session is gone")
        assertEquals(FailureCode.INSTALL_ABORTED, assertIs<Fetched.Failed>(fetch()).code)
    }

    @Test
    fun `bytes that were there and are not begin anew`() {
        serve { it.part() }
        session.bytes = apk.copyOf(99_999)
        for (offset in listOf(100_000L, apk.size.toLong())) {
            assertEquals(0, assertIs<Fetched.Cut>(fetch(order(offset, etag))).offset)
        }
    }

    @Test
    fun `headers that never end are a time-out`() {
        ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { slow ->
            val enough = CountDownLatch(1)
            val loris = threads.submit { slow.accept().use { it.trickle(enough) } }
            val transport = UrlConnectionTransport(answerTimeoutMs = 300)
            val order = order(url = "http://127.0.0.1:${slow.localPort}/a.apk")
            val cut = Downloader(base, transport, session, clock).fetch(order) { _, _ -> true }
            enough.countDown()
            loris.get()
            assertEquals(FailureCode.DOWNLOAD_TIMEOUT, assertIs<Fetched.Cut>(cut).code)
        }
    }

    /** A header byte every few milliseconds, until there was [enough] or the other side is gone. */
    private fun Socket.trickle(enough: CountDownLatch) {
        try {
            getOutputStream().write("HTTP/1.1 200 OK\r\nX-Loris: ".toByteArray())
            while (!enough.await(5, TimeUnit.MILLISECONDS)) getOutputStream().write('a'.code)
        } catch (_: IOException) {
            return
        }
    }

    @Test
    fun `told to stop it stops at the next sync`() {
        serve { it.part() }
        assertEquals(Fetched.Stopped, downloader().fetch(order()) { _, _ -> false })
        assertTrue(session.bytes.size < apk.size)
    }
}
