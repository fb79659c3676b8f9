package com.nexmdm.agent.store

import com.nexmdm.agent.net.Addresses
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import java.io.IOException
import java.net.URL

/** Where a device belongs, as the provisioning said it. [enrollmentToken] is null once the server has taken it. */
@Serializable
public data class Provision(
    @SerialName("server_url") public val server: String,
    @SerialName("enrollment_token") public val enrollmentToken: String? = null,
) {
    public companion object {
        public const val SERVER: String = "server_url"
        public const val TOKEN: String = "enrollment_token"

        /** Null unless there is an address that an agent may talk to, and a token. */
        public fun of(server: String?, enrollmentToken: String?): Provision? {
            val address = server.orEmpty().trim().trimEnd('/')
            val token = enrollmentToken.orEmpty().trim()
            return Provision(address, token).takeIf { TOKEN_FORM.matches(token) && isAllowed(address) }
        }

        /** Paths are put behind it, so it has none of what ends a path. */
        private fun isAllowed(address: String): Boolean =
            try {
                val url = URL(Addresses.checked(address, address))
                url.host.isNotEmpty() && url.query == null && url.ref == null && address.length <= MAX_ADDRESS
            } catch (_: IOException) {
                false
            }

        private val TOKEN_FORM = Regex("[!-~]{1,500}")
        private const val MAX_ADDRESS = 500
    }
}

/** The provision on disk. A damaged or missing file is as good as none. */
public class ProvisionFile(private val file: DurableFile) {
    public fun read(): Provision? =
        try {
            keptJson.decodeFromString(Provision.serializer(), String(file.read(), Charsets.UTF_8))
        } catch (_: IllegalArgumentException) {
            null
        } catch (_: IOException) {
            null
        }

    /** @throws IOException if it could not be kept. */
    public fun write(provision: Provision): Unit =
        file.replace(keptJson.encodeToString(Provision.serializer(), provision).toByteArray())
}
