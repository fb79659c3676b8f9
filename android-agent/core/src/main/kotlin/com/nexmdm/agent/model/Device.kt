package com.nexmdm.agent.model

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable

@Serializable
public enum class Network {
    @SerialName("wifi")
    WIFI,

    @SerialName("ethernet")
    ETHERNET,

    @SerialName("cellular")
    CELLULAR,

    @SerialName("none")
    NONE,
}

/** Whether an install can happen without a person, only with one, or not at all. */
public enum class InstallRight { SILENT, PROMPT, NONE }

/** How the device is right now; null is "could not be read" and holds nobody back. [battery] in percent. */
public data class DeviceSnapshot(
    public val network: Network? = null,
    public val metered: Boolean? = null,
    public val battery: Int? = null,
    public val charging: Boolean? = null,
    public val freeStorageMb: Long? = null,
    public val dozeExempt: Boolean? = null,
    public val inCall: Boolean? = null,
    public val inUse: Boolean? = null,
    public val deviceOwner: Boolean? = null,
    public val zone: String? = null,
    public val installRight: InstallRight = InstallRight.SILENT,
)

/** A package on the device. [signers] are the current certificates' sha256; empty means it could not be read. */
@Serializable
public data class InstalledPackage(
    public val packageName: String,
    public val versionCode: Long,
    public val versionName: String? = null,
    public val signers: Set<String> = emptySet(),
    /** Changes with every install of the package; only ever compared for equality, never with a clock. */
    public val updatedAt: Long = 0,
)

/** What never changes while the agent runs. */
public data class DeviceIdentity(
    public val serial: String,
    public val model: String,
    public val manufacturer: String? = null,
    public val sdkInt: Int,
    public val abis: List<String> = emptyList(),
    public val agentPackage: String,
    public val agentVersion: String,
    public val alias: String? = null,
)
