package com.nexmdm.agent.sim

import com.nexmdm.agent.net.HttpExchange
import com.nexmdm.agent.net.HttpRequest
import com.nexmdm.agent.net.HttpTransport
import java.io.FilterInputStream
import java.io.IOException
import java.io.InputStream
import java.net.ConnectException
import java.net.SocketException

/** Between the agent and the network: damages, drops or withholds what comes. */
internal class FaultyTransport(private val inner: HttpTransport, faults: Faults) : HttpTransport {
    private val isOffline = FaultKind.OFFLINE in faults
    private val damages = FaultKind.CHECKSUM in faults
    private val dropAfter = faults.bytes(FaultKind.DROPS)

    override fun open(request: HttpRequest): HttpExchange {
        // Enrolment goes through, so that the server knows the device that it then does not hear from.
        if (isOffline && !request.url.endsWith("/enroll")) throw ConnectException("scripted: offline")
        val exchange = inner.open(request)
        val isArtifact = request.method == "GET" && "/artifacts/" in request.url
        return if (isArtifact && (damages || dropAfter != null)) Damaged(exchange) else exchange
    }

    private inner class Damaged(private val exchange: HttpExchange) : HttpExchange by exchange {
        private val stream by lazy { Damage(exchange.body()) }

        override fun body(): InputStream = stream
    }

    private inner class Damage(body: InputStream) : FilterInputStream(body) {
        private var seen = 0L

        override fun read(bytes: ByteArray, offset: Int, length: Int): Int {
            val room = dropAfter?.let { it - seen } ?: length.toLong()
            if (room <= 0) throw SocketException("scripted: connection reset")
            val count = super.read(bytes, offset, minOf(length.toLong(), room).toInt())
            if (damages && count > 0) bytes[offset] = (bytes[offset].toInt() xor 1).toByte()
            seen += count.coerceAtLeast(0)
            return count
        }

        @Throws(IOException::class)
        override fun read(): Int = throw IOException("only read in blocks")
    }
}
