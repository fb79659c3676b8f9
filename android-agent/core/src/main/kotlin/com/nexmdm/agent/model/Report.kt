package com.nexmdm.agent.model

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import java.time.Instant

/**
 * One thing that the server must hear. [id] orders the outbox and stays on the device; [key] goes into the URL;
 * [seq] counts within the attempt, so that a repeat is known as one.
 */
@Serializable
public data class Report(
    public val id: Long,
    public val key: JobKey,
    public val seq: Int,
    public val status: Status,
    @Serializable(with = InstantSerializer::class) public val occurredAt: Instant,
    public val errorCode: String? = null,
    public val error: String? = null,
    public val progress: Int? = null,
    public val installed: InstalledVersion? = null,
    public val postInstall: String? = null,
)

@Serializable
public data class InstalledVersion(
    @SerialName("version_code") public val versionCode: Long,
    @SerialName("version_name") public val versionName: String? = null,
    @SerialName("signer_sha256") public val signerSha256: String? = null,
)
