package com.nexmdm.agent.proto

import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.InstalledVersion
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.Status
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json

/** Newer servers may say more than this agent knows; what is null or default stays off the wire. */
internal val wireJson: Json =
    Json {
        ignoreUnknownKeys = true
        explicitNulls = false
        encodeDefaults = false
    }

@Serializable
internal data class PackageBody(
    @SerialName("package") val packageName: String,
    @SerialName("version_code") val versionCode: Long,
    @SerialName("version_name") val versionName: String? = null,
    @SerialName("signer_sha256") val signerSha256: String? = null,
)

/**
 * The server refuses the whole message for one entry too many or one malformed name, so neither leaves the device: of
 * too many, the agent itself and what was updated last are kept.
 */
internal fun List<InstalledPackage>.toBodies(agentPackage: String): List<PackageBody> =
    filter { PACKAGE_NAME.matches(it.packageName) && it.packageName.length <= MAX_NAME }
        .sortedWith(compareBy({ it.packageName != agentPackage }, { -it.updatedAt }, { it.packageName }))
        .take(MAX_PACKAGES)
        .map { it.toBody() }

private fun InstalledPackage.toBody() =
    PackageBody(packageName, versionCode, versionName?.take(MAX_VERSION), signers.singleOrNull())

private val PACKAGE_NAME = Regex("[A-Za-z][A-Za-z0-9_]*(\\.[A-Za-z][A-Za-z0-9_]*)*")
private const val MAX_NAME = 223
private const val MAX_VERSION = 255
private const val MAX_PACKAGES = 200

@Serializable
internal data class EnrollBody(
    @SerialName("enrollment_token") val enrollmentToken: String,
    val serial: String,
    val model: String,
    val manufacturer: String?,
    @SerialName("sdk_int") val sdkInt: Int,
    val abis: List<String>,
    @SerialName("agent_version") val agentVersion: String,
    val alias: String?,
    @SerialName("fcm_token") val fcmToken: String?,
    val packages: List<PackageBody>,
)

@Serializable
internal data class HeartbeatBody(
    val battery: Int?,
    val charging: Boolean?,
    val network: Network?,
    val metered: Boolean?,
    @SerialName("free_storage_mb") val freeStorageMb: Long?,
    @SerialName("doze_exempt") val dozeExempt: Boolean?,
    @SerialName("in_call") val inCall: Boolean?,
    @SerialName("in_use") val inUse: Boolean?,
    @SerialName("device_owner") val deviceOwner: Boolean?,
    val tz: String?,
    @SerialName("max_schema") val maxSchema: Int,
    @SerialName("agent_version") val agentVersion: String,
    @SerialName("sdk_int") val sdkInt: Int,
    @SerialName("fcm_token") val fcmToken: String?,
    val packages: List<PackageBody>?,
)

internal fun heartbeatBody(
    device: DeviceIdentity,
    now: DeviceSnapshot,
    fcmToken: String?,
    packages: List<InstalledPackage>?,
): HeartbeatBody =
    HeartbeatBody(
        battery = now.battery?.coerceIn(0, 100),
        charging = now.charging,
        network = now.network,
        metered = now.metered,
        freeStorageMb = now.freeStorageMb,
        dozeExempt = now.dozeExempt,
        inCall = now.inCall,
        inUse = now.inUse,
        deviceOwner = now.deviceOwner,
        tz = now.zone,
        maxSchema = DeployCommand.MAX_SCHEMA,
        agentVersion = device.agentVersion,
        sdkInt = device.sdkInt,
        fcmToken = fcmToken,
        packages = packages?.toBodies(device.agentPackage),
    )

@Serializable
internal data class StatusBody(
    val status: Status,
    val attempt: Int,
    val seq: Int,
    @SerialName("occurred_at") val occurredAt: String,
    @SerialName("error_code") val errorCode: String?,
    val error: String?,
    val progress: Int?,
    @SerialName("installed_version") val installedVersion: InstalledVersion?,
    @SerialName("post_install") val postInstall: String?,
)

internal fun Report.toBody(): StatusBody =
    StatusBody(
        status = status,
        attempt = key.attempt,
        seq = seq,
        occurredAt = occurredAt.toString(),
        errorCode = errorCode,
        error = error?.take(MAX_TEXT),
        progress = progress,
        installedVersion = installed,
        postInstall = postInstall,
    )

private const val MAX_TEXT = 500
