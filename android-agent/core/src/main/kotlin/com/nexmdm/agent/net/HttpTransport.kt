package com.nexmdm.agent.net

import java.io.Closeable
import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.SocketTimeoutException
import java.net.URL
import java.net.URLConnection
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean

public class HttpRequest(
    public val method: String,
    public val url: String,
    public val headers: Map<String, String> = emptyMap(),
    public val body: ByteArray? = null,
)

/** One answer; [body] is read from the wire, not held in memory. */
public interface HttpExchange : Closeable {
    public val status: Int

    public fun header(name: String): String?

    public fun body(): InputStream
}

/** Follows no redirects and keeps no cookies. Every failure is an [IOException]. */
public fun interface HttpTransport {
    public fun open(request: HttpRequest): HttpExchange
}

/**
 * [connect] lets Android bind the connection to one network. Time-outs in milliseconds; [answerTimeoutMs] bounds the
 * way to the end of the headers, however slowly they trickle.
 */
public class UrlConnectionTransport(
    private val connectTimeoutMs: Int = 10_000,
    private val readTimeoutMs: Int = 20_000,
    private val answerTimeoutMs: Long = 60_000,
    private val connect: (URL) -> URLConnection = { it.openConnection() },
) : HttpTransport {
    override fun open(request: HttpRequest): HttpExchange {
        val connection =
            connect(URL(request.url)) as? HttpURLConnection ?: throw IOException("not an HTTP address")
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.connectTimeout = connectTimeoutMs
        connection.readTimeout = readTimeoutMs
        connection.requestMethod = request.method
        // Android would otherwise ask for gzip by itself, and lengths and ranges would no longer fit.
        connection.setRequestProperty("Accept-Encoding", "identity")
        request.headers.forEach(connection::setRequestProperty)
        return UrlExchange(connection, answer(connection, request.body))
    }

    private fun answer(connection: HttpURLConnection, body: ByteArray?): Int {
        val isLate = AtomicBoolean()
        val cut =
            watch.schedule(
                {
                    isLate.set(true)
                    connection.disconnect()
                },
                answerTimeoutMs,
                TimeUnit.MILLISECONDS,
            )
        val status =
            try {
                body?.let { send(connection, it) }
                connection.responseCode
            } catch (e: IOException) {
                if (isLate.get()) null else throw e
            } finally {
                cut.cancel(false)
            }
        // Headers that were cut off half-way still give a status.
        if (status == null || isLate.get()) throw SocketTimeoutException("no answer within $answerTimeoutMs ms")
        return status
    }

    /** Not streamed: Java's client hides the answer of a server that refuses a streamed body with 401. */
    private fun send(connection: HttpURLConnection, body: ByteArray) {
        connection.doOutput = true
        connection.outputStream.use { it.write(body) }
    }

    private companion object {
        /** One thread for all connections of the process; it does nothing but cut those that take too long. */
        val watch =
            ScheduledThreadPoolExecutor(1) { work -> Thread(work, "http-watch").apply { isDaemon = true } }
                .apply { removeOnCancelPolicy = true }
    }

    private class UrlExchange(
        private val connection: HttpURLConnection,
        override val status: Int,
    ) : HttpExchange {
        private var open: InputStream? = null

        override fun header(name: String): String? = connection.getHeaderField(name)

        override fun body(): InputStream =
            open ?: (connection.errorStream ?: connection.inputStream).also { open = it }

        /** A body that was read to its end frees the connection for the next request; any other is cut off. */
        override fun close() {
            if (open == null || !drained()) connection.disconnect() else open?.close()
        }

        private fun drained(): Boolean =
            try {
                open?.read() == -1
            } catch (_: IOException) {
                false
            }
    }
}
