package com.nexmdm.agent.store

import com.nexmdm.agent.net.Addresses
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import java.io.IOException

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
            if (token.isEmpty() || !isAllowed(address)) return null
            return Provision(address, token)
        }

        private fun isAllowed(address: String): Boolean =
            try {
                Addresses.checked(address, address)
                true
            } catch (_: IOException) {
                false
            }
    }
}

/** The provision on disk. A damaged or missing file is as good as none. */
public class ProvisionFile(private val file: DurableFile) {
    public fun read(): Provision? =
        try {
            Json.decodeFromString(Provision.serializer(), String(file.read(), Charsets.UTF_8))
        } catch (_: IllegalArgumentException) {
            null
        } catch (_: IOException) {
            null
        }

    /** @throws IOException if it could not be kept. */
    public fun write(provision: Provision): Unit =
        file.replace(Json.encodeToString(Provision.serializer(), provision).toByteArray())
}
