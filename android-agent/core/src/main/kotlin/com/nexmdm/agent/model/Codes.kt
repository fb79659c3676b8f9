package com.nexmdm.agent.model

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable

@Serializable
public enum class Status {
    @SerialName("received")
    RECEIVED,

    @SerialName("downloading")
    DOWNLOADING,

    @SerialName("installing")
    INSTALLING,

    @SerialName("succeeded")
    SUCCEEDED,

    @SerialName("failed")
    FAILED,

    @SerialName("skipped")
    SKIPPED,
    ;

    public val isFinal: Boolean get() = this == SUCCEEDED || this == FAILED || this == SKIPPED
}

/** The failures that this agent can report, under their names on the wire. */
public enum class FailureCode {
    CHECKSUM_MISMATCH,
    SIZE_MISMATCH,
    SIGNATURE_MISMATCH,
    SIGNATURE_INVALID,
    PACKAGE_MISMATCH,
    VERSION_MISMATCH,
    VERSION_DOWNGRADE,
    NOT_PERMITTED,
    USER_DECLINED,
    INSUFFICIENT_STORAGE,
    APK_INVALID,
    SDK_TOO_OLD,
    ABI_INCOMPATIBLE,
    DOWNLOAD_HTTP,
    DOWNLOAD_NETWORK,
    DOWNLOAD_TIMEOUT,
    URL_EXPIRED,
    VERIFIER_BLOCKED,
    VERIFIER_TIMEOUT,
    INSTALL_ABORTED,
    INSTALL_BLOCKED,
    INSTALL_CONFLICT,
    INSTALL_INTERNAL,
    INSTALL_TIMEOUT,
    SESSION_LIMIT,
    RESULT_MISMATCH,
    REINSTALL_INCOMPLETE,
    INTERNAL,
    ;

    public val wire: String get() = name.lowercase()
}

/** Why this agent may leave a command undone; the server asks again later. */
public enum class SkipReason {
    NO_WIFI,
    METERED_NETWORK,
    BATTERY_LOW,
    NOT_CHARGING,
    LOW_STORAGE,
    IN_CALL,
    IN_USE,
    OUTSIDE_WINDOW,
    NEWER_INSTALLED,
    CANCELED,
    ;

    public val wire: String get() = name.lowercase()
}
