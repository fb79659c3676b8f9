package com.nexmdm.agent.net

import java.io.Closeable
import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL
import java.net.URLConnection

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

/** [connect] lets Android bind the connection to one network. Time-outs in milliseconds. */
public class UrlConnectionTransport(
    private val connectTimeoutMs: Int = 10_000,
    private val readTimeoutMs: Int = 20_000,
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
        request.body?.let { send(connection, it) }
        return UrlExchange(connection, connection.responseCode)
    }

    private fun send(connection: HttpURLConnection, body: ByteArray) {
        connection.doOutput = true
        connection.setFixedLengthStreamingMode(body.size)
        connection.outputStream.use { it.write(body) }
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
