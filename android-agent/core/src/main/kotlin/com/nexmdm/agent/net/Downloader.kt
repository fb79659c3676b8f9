package com.nexmdm.agent.net

import com.nexmdm.agent.apk.toHex
import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.engine.SessionPort
import com.nexmdm.agent.engine.SessionSink
import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.FailureCode
import java.io.IOException
import java.io.InputStream
import java.net.SocketTimeoutException
import java.nio.ByteBuffer
import java.security.MessageDigest

public data class FetchOrder(
    public val apk: ApkSpec,
    public val session: Int,
    public val offset: Long,
    public val etag: String?,
)

public sealed interface Fetched {
    /** Every byte is in the session, synced, and the digest is the one that was ordered. */
    public data object Complete : Fetched

    /** The transfer ended early; [offset] bytes are safe. [code] counts if it is never mended. */
    public data class Cut(
        public val offset: Long,
        public val etag: String?,
        public val code: FailureCode,
        public val why: String,
        public val retryAfterMs: Long? = null,
    ) : Fetched

    /** No repeat of this request can help. */
    public data class Failed(public val code: FailureCode, public val why: String) : Fetched

    /** The address is no longer valid; a confirmation brings a new one. */
    public data class Expired(public val offset: Long, public val etag: String?) : Fetched

    /** The watcher said stop. */
    public data object Stopped : Fetched
}

/**
 * Sizes in bytes, times in milliseconds. A sync is due after [syncBytes], but not more often than every [syncRestMs],
 * and in any case after [syncMs]: the end of the process costs that much of the transfer at most.
 */
public data class DownloadLimits(
    public val syncBytes: Long = 4L * 1024 * 1024,
    public val syncRestMs: Long = 1_000,
    public val syncMs: Long = 30_000,
    public val slowBytes: Long = 64 * 1024,
    public val slowMs: Long = 30_000,
    public val redirects: Int = 3,
)

/** Told after each sync; answers whether to go on. */
public fun interface FetchWatcher {
    public fun reached(offset: Long, etag: String?): Boolean
}

/** One transfer into a session: checked as it flows, resumable at every sync. Not for use by two threads. */
public class Downloader(
    private val server: String,
    private val transport: HttpTransport,
    private val sessions: SessionPort,
    private val clock: Clock,
    private val limits: DownloadLimits = DownloadLimits(),
) {
    private class Hashed(val session: Int, var offset: Long, val digest: MessageDigest)

    private var hashed: Hashed? = null

    public fun fetch(order: FetchOrder, watcher: FetchWatcher): Fetched {
        return try {
            if (order.offset == order.apk.sizeBytes) return judge(order.apk, hashedUpTo(order.session, order.offset))
            open(order).use { exchange -> receive(order, exchange, watcher) }
        } catch (e: SocketTimeoutException) {
            Fetched.Cut(order.offset, order.etag, FailureCode.DOWNLOAD_TIMEOUT, e.message.orEmpty())
        } catch (e: PortFailure) {
            Fetched.Failed(e.code, e.message.orEmpty())
        } catch (_: LostBytes) {
            startOver("the session is shorter than it was")
        } catch (e: RefusedAddress) {
            Fetched.Failed(FailureCode.DOWNLOAD_HTTP, e.message.orEmpty())
        } catch (e: IOException) {
            Fetched.Cut(order.offset, order.etag, FailureCode.DOWNLOAD_NETWORK, e.message.orEmpty())
        }
    }

    private fun open(order: FetchOrder): HttpExchange {
        val headers =
            if (order.offset == 0L) {
                emptyMap()
            } else {
                mapOf("Range" to "bytes=${order.offset}-") + order.etag?.let { mapOf("If-Range" to it) }.orEmpty()
            }
        var url = allowed { Addresses.checked(server, order.apk.url) }
        repeat(limits.redirects + 1) {
            val exchange = transport.open(HttpRequest("GET", url, headers))
            if (exchange.status !in REDIRECTS) return exchange
            exchange.use { url = redirected(url, it.header("Location")) }
        }
        throw RefusedAddress("too many redirects")
    }

    /** A redirect may move on the same host or to the server's own, nowhere else. */
    private fun redirected(from: String, location: String?): String {
        val to = allowed { Addresses.checked(from, location ?: throw IOException("a redirect to nowhere")) }
        if (!Addresses.sameHost(from, to) && !Addresses.sameHost(server, to)) {
            throw RefusedAddress("a redirect to another host")
        }
        return to
    }

    private inline fun allowed(check: () -> String): String =
        try {
            check()
        } catch (e: IOException) {
            throw RefusedAddress(e.message.orEmpty(), e)
        }

    private fun receive(order: FetchOrder, exchange: HttpExchange, watcher: FetchWatcher): Fetched {
        val status = exchange.status
        return when {
            status == 200 -> copyFrom(0, order, exchange, watcher)
            status == 206 -> resume(order, exchange, watcher)
            status == 403 || status == 410 -> Fetched.Expired(order.offset, order.etag)
            status == 416 -> startOver("the server has no such range")
            status == 408 || status == 429 || status >= 500 -> {
                Fetched.Cut(
                    order.offset,
                    order.etag,
                    FailureCode.DOWNLOAD_HTTP,
                    "HTTP $status",
                    RetryAfter.of(exchange),
                )
            }
            else -> Fetched.Failed(FailureCode.DOWNLOAD_HTTP, "HTTP $status")
        }
    }

    private fun resume(order: FetchOrder, exchange: HttpExchange, watcher: FetchWatcher): Fetched {
        val range = RANGE.matchEntire(exchange.header("Content-Range").orEmpty())
        val (from, total) = range?.destructured
            ?: return Fetched.Failed(FailureCode.DOWNLOAD_HTTP, "206 without a range")
        val etag = exchange.header("ETag")
        return when {
            total.toLongOrNull() != order.apk.sizeBytes -> wrongSize(total)
            from.toLongOrNull() != order.offset -> startOver("the server sent another range")
            etag != null && order.etag != null && etag != order.etag -> startOver("the file changed")
            else -> copyFrom(order.offset, order, exchange, watcher)
        }
    }

    private fun copyFrom(start: Long, order: FetchOrder, exchange: HttpExchange, watcher: FetchWatcher): Fetched {
        val length = exchange.header("Content-Length")?.toLongOrNull()
        if (length != null && length != order.apk.sizeBytes - start) return wrongSize("${length + start}")
        val state = if (start == 0L) fresh(order.session) else hashedUpTo(order.session, start)
        val sink = stored { sessions.write(order.session, start) }
        return sink.use { copy(order, exchange, state, it, watcher) }
    }

    private fun copy(
        order: FetchOrder,
        exchange: HttpExchange,
        state: Hashed,
        sink: SessionSink,
        watcher: FetchWatcher,
    ): Fetched {
        val etag = exchange.header("ETag")
        val ended =
            try {
                transfer(order, exchange.body(), state, sink) { watcher.reached(it, etag) }
            } catch (e: PortFailure) {
                throw e
            } catch (e: SocketTimeoutException) {
                Ended.Early(FailureCode.DOWNLOAD_TIMEOUT, e.message.orEmpty())
            } catch (e: IOException) {
                Ended.Early(FailureCode.DOWNLOAD_NETWORK, e.message.orEmpty())
            }
        stored { sink.sync() }
        return when (ended) {
            is Ended.Early -> Fetched.Cut(state.offset, etag, ended.code, ended.why)
            is Ended.Stopped -> Fetched.Stopped
            is Ended.Complete -> judge(order.apk, state)
        }
    }

    private sealed interface Ended {
        data object Complete : Ended

        data object Stopped : Ended

        data class Early(val code: FailureCode, val why: String) : Ended
    }

    /** Never takes more than the ordered size, whatever the server goes on to send. */
    private fun transfer(
        order: FetchOrder,
        body: InputStream,
        state: Hashed,
        sink: SessionSink,
        goOn: (Long) -> Boolean,
    ): Ended {
        val pace = Pace(clock, limits, state.offset)
        val buffer = ByteArray(BUFFER)
        while (state.offset < order.apk.sizeBytes) {
            val count = body.read(buffer, 0, minOf(BUFFER.toLong(), order.apk.sizeBytes - state.offset).toInt())
            if (count < 0) return Ended.Early(FailureCode.DOWNLOAD_NETWORK, "the transfer ended early")
            stored { sink.write(buffer, count) }
            state.digest.update(buffer, 0, count)
            state.offset += count
            if (pace.tooSlow(state.offset)) return Ended.Early(FailureCode.DOWNLOAD_TIMEOUT, "too slow")
            if (pace.syncDue(state.offset) && !synced(state, sink, goOn)) return Ended.Stopped
        }
        return Ended.Complete
    }

    private fun synced(state: Hashed, sink: SessionSink, goOn: (Long) -> Boolean): Boolean {
        stored { sink.sync() }
        return goOn(state.offset)
    }

    private fun judge(apk: ApkSpec, state: Hashed): Fetched {
        hashed = null
        val sha256 = state.digest.digest().toHex()
        if (sha256 == apk.sha256) return Fetched.Complete
        return Fetched.Failed(FailureCode.CHECKSUM_MISMATCH, "sha256 is $sha256")
    }

    private fun startOver(why: String): Fetched = Fetched.Cut(0, null, FailureCode.DOWNLOAD_HTTP, why)

    private fun wrongSize(said: String): Fetched = Fetched.Failed(
        FailureCode.SIZE_MISMATCH,
        "the server has $said bytes",
    )

    private fun fresh(session: Int): Hashed =
        Hashed(session, 0, MessageDigest.getInstance("SHA-256")).also { hashed = it }

    /** Goes on with the digest in memory; after a restart of the process the bytes are read once more. */
    private fun hashedUpTo(session: Int, offset: Long): Hashed {
        hashed?.takeIf { it.session == session && it.offset == offset }?.let { return it }
        val state = fresh(session)
        stored { sessions.read(session) }.use { channel ->
            val buffer = ByteBuffer.allocate(BUFFER)
            while (state.offset < offset) {
                buffer.clear().limit(minOf(BUFFER.toLong(), offset - state.offset).toInt())
                val count = stored { channel.read(buffer) }
                if (count < 0) throw LostBytes()
                state.digest.update(buffer.array(), 0, count)
                state.offset += count
            }
        }
        return state
    }

    /** A device that gives no reason of its own has no room left. */
    private inline fun <T> stored(action: () -> T): T =
        try {
            action()
        } catch (e: PortFailure) {
            throw e
        } catch (e: IOException) {
            throw PortFailure(FailureCode.INSUFFICIENT_STORAGE, e.message ?: "the session cannot be written", e)
        }

    private class LostBytes : IOException()

    private class RefusedAddress(message: String, cause: Throwable? = null) : IOException(message, cause)

    private companion object {
        const val BUFFER = 64 * 1024
        val REDIRECTS = setOf(301, 302, 303, 307, 308)
        val RANGE = Regex("bytes (\\d+)-\\d+/(\\d+)")
    }
}

/** When to sync, and when a trickle is as good as silence. */
private class Pace(private val clock: Clock, private val limits: DownloadLimits, start: Long) {
    private var syncedAt = clock.elapsedMs()
    private var syncedBytes = start
    private var seenAt = syncedAt
    private var seenBytes = start

    fun syncDue(offset: Long): Boolean {
        val now = clock.elapsedMs()
        val isDue = offset - syncedBytes >= limits.syncBytes && now - syncedAt >= limits.syncRestMs
        if (!isDue && now - syncedAt < limits.syncMs) return false
        syncedAt = now
        syncedBytes = offset
        return true
    }

    fun tooSlow(offset: Long): Boolean {
        val now = clock.elapsedMs()
        if (now - seenAt < limits.slowMs) return false
        val slow = offset - seenBytes < limits.slowBytes
        seenAt = now
        seenBytes = offset
        return slow
    }
}
