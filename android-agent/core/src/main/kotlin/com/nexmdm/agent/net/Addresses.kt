package com.nexmdm.agent.net

import java.io.IOException
import java.net.MalformedURLException
import java.net.URL

internal object Addresses {
    private val loopback = setOf("localhost", "127.0.0.1", "[::1]", "::1")

    /** [url], seen from [base]; an [IOException] unless it is https, or plain http to this very machine. */
    fun checked(base: String, url: String): String {
        val resolved =
            try {
                URL(URL(base), url)
            } catch (e: MalformedURLException) {
                throw IOException("malformed address", e)
            }
        val plainHere = resolved.protocol == "http" && resolved.host in loopback
        if (resolved.protocol != "https" && !plainHere) throw IOException("only https is followed")
        if (resolved.userInfo != null) throw IOException("an address with a password")
        return resolved.toExternalForm()
    }

    fun sameHost(one: String, other: String): Boolean {
        val (a, b) = URL(one) to URL(other)
        return a.protocol == b.protocol && a.host.equals(b.host, ignoreCase = true) && portOf(a) == portOf(b)
    }

    private fun portOf(url: URL): Int = if (url.port == -1) url.defaultPort else url.port
}
