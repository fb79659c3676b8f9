package com.nexmdm.agent.model

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonPrimitive
import java.time.Instant

/** The order to bring one package to one version. Its checks run on every way in: push, heartbeat, answer, journal. */
@Serializable
public data class DeployCommand(
    public val action: String,
    public val schema: Int,
    @SerialName("deployment_id") public val deploymentId: Id,
    @SerialName("device_id") public val deviceId: Id,
    public val attempt: Int,
    @SerialName("issued_at") @Serializable(with = InstantSerializer::class) public val issuedAt: Instant? = null,
    @SerialName("expires_at") @Serializable(with = InstantSerializer::class) public val expiresAt: Instant? = null,
    public val apk: ApkSpec,
    public val constraints: Constraints = Constraints(),
    public val window: Window? = null,
    @SerialName("install_mode") public val installMode: InstallMode = InstallMode.UPDATE,
    @SerialName("post_install") public val postInstall: PostInstall = PostInstall(),
) {
    init {
        require(action == ACTION) { "unknown action" }
        require(schema in 1..MAX_SCHEMA) { "schema $schema is not understood" }
        require(attempt >= 1) { "attempt starts at 1" }
    }

    public val key: JobKey get() = JobKey(deploymentId, attempt)

    public companion object {
        public const val ACTION: String = "deploy_apk"
        public const val MAX_SCHEMA: Int = 1
    }
}

/** [sizeBytes] and [sha256] (lower-case hex) bind the bytes, [signerSha256] those who may have signed them. */
@Serializable
public data class ApkSpec(
    @SerialName("package") public val packageName: String,
    @SerialName("version_code") public val versionCode: Long,
    @SerialName("version_name") public val versionName: String? = null,
    public val url: String,
    public val sha256: String,
    @SerialName("size_bytes") public val sizeBytes: Long,
    @SerialName("signer_sha256") public val signerSha256: List<String>,
) {
    init {
        require(PACKAGE.matches(packageName) && packageName.length <= 223) { "malformed package name" }
        require(versionCode in 1..Int.MAX_VALUE) { "version code out of range" }
        require(HEX_SHA256.matches(sha256)) { "sha256 is 64 hexadecimal digits" }
        require(sizeBytes in 1..MAX_SIZE) { "size out of range" }
        require(signerSha256.isNotEmpty() && signerSha256.all { HEX_SHA256.matches(it) }) { "no valid signer given" }
    }

    private companion object {
        val PACKAGE = Regex("[A-Za-z][A-Za-z0-9_]*(\\.[A-Za-z][A-Za-z0-9_]*)+")
        val HEX_SHA256 = Regex("[0-9a-f]{64}")
        const val MAX_SIZE = 4L * 1024 * 1024 * 1024
    }
}

@Serializable
public data class Constraints(
    @SerialName("wifi_only") public val wifiOnly: Boolean = false,
    @SerialName("min_battery") public val minBattery: Int? = null,
    @SerialName("charging_only") public val chargingOnly: Boolean = false,
    @SerialName("min_free_mb") public val minFreeMb: Long? = null,
)

@Serializable
public enum class InstallMode {
    @SerialName("update")
    UPDATE,

    /** Uninstall, then install: the app's data is lost. */
    @SerialName("reinstall")
    REINSTALL,
}

@Serializable
public data class PostInstall(
    @SerialName("restart_intent") public val restartIntent: RestartIntent? = null,
)

/** Only an action and plain extras: it is always addressed to the package that was installed. */
@Serializable
public data class RestartIntent(
    public val action: String,
    public val extras: Map<String, JsonPrimitive> = emptyMap(),
) {
    init {
        require(action.isNotBlank() && action.length <= 255) { "malformed intent action" }
    }
}
