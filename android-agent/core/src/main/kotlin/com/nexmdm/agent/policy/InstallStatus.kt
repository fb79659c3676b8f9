package com.nexmdm.agent.policy

import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.model.FailureCode.ABI_INCOMPATIBLE
import com.nexmdm.agent.model.FailureCode.APK_INVALID
import com.nexmdm.agent.model.FailureCode.INSTALL_ABORTED
import com.nexmdm.agent.model.FailureCode.INSTALL_BLOCKED
import com.nexmdm.agent.model.FailureCode.INSTALL_CONFLICT
import com.nexmdm.agent.model.FailureCode.INSTALL_INTERNAL
import com.nexmdm.agent.model.FailureCode.INSTALL_TIMEOUT
import com.nexmdm.agent.model.FailureCode.INSUFFICIENT_STORAGE
import com.nexmdm.agent.model.FailureCode.NOT_PERMITTED
import com.nexmdm.agent.model.FailureCode.SDK_TOO_OLD
import com.nexmdm.agent.model.FailureCode.SIGNATURE_INVALID
import com.nexmdm.agent.model.FailureCode.SIGNATURE_MISMATCH
import com.nexmdm.agent.model.FailureCode.VERIFIER_BLOCKED
import com.nexmdm.agent.model.FailureCode.VERIFIER_TIMEOUT
import com.nexmdm.agent.model.FailureCode.VERSION_DOWNGRADE

/** What PackageInstaller said, as it said it. */
public data class PlatformStatus(
    public val status: Int,
    public val legacy: Int? = null,
    public val message: String? = null,
)

public sealed interface InstallVerdict {
    public data object Done : InstallVerdict

    /** A person must say yes on the screen. */
    public data object AskPerson : InstallVerdict

    public data class Failed(public val code: FailureCode, public val text: String) : InstallVerdict
}

/** PackageInstaller's answer → our verdict: legacy code first, then the token in the message, then the status. */
public object InstallStatus {
    public fun verdict(said: PlatformStatus): InstallVerdict =
        when (said.status) {
            0 -> InstallVerdict.Done
            -1 -> InstallVerdict.AskPerson
            else -> InstallVerdict.Failed(codeOf(said), said.message ?: "install status ${said.status}/${said.legacy}")
        }

    private fun codeOf(said: PlatformStatus): FailureCode {
        val message = said.message.orEmpty()
        val token = TOKEN.find(message)?.value
        if (token == null && message.contains("pending install", ignoreCase = true)) return INSTALL_ABORTED
        val exact = known.firstOrNull { it.legacy == said.legacy } ?: known.firstOrNull { it.token == token }
        return exact?.code ?: byStatus[said.status] ?: INSTALL_INTERNAL
    }

    private val TOKEN = Regex("INSTALL_[A-Z_]+")

    private val byStatus: Map<Int, FailureCode> =
        mapOf(
            1 to INSTALL_INTERNAL,
            2 to INSTALL_BLOCKED,
            3 to INSTALL_ABORTED,
            4 to APK_INVALID,
            5 to INSTALL_CONFLICT,
            6 to INSUFFICIENT_STORAGE,
            7 to ABI_INCOMPATIBLE,
            8 to INSTALL_TIMEOUT,
        )

    private data class Known(val legacy: Int, val token: String, val code: FailureCode)

    private val known: List<Known> =
        listOf(
            Known(-1, "INSTALL_FAILED_ALREADY_EXISTS", INSTALL_CONFLICT),
            Known(-2, "INSTALL_FAILED_INVALID_APK", APK_INVALID),
            Known(-3, "INSTALL_FAILED_INVALID_URI", APK_INVALID),
            Known(-4, "INSTALL_FAILED_INSUFFICIENT_STORAGE", INSUFFICIENT_STORAGE),
            Known(-5, "INSTALL_FAILED_DUPLICATE_PACKAGE", INSTALL_CONFLICT),
            Known(-6, "INSTALL_FAILED_NO_SHARED_USER", INSTALL_CONFLICT),
            Known(-7, "INSTALL_FAILED_UPDATE_INCOMPATIBLE", SIGNATURE_MISMATCH),
            Known(-8, "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE", SIGNATURE_MISMATCH),
            Known(-9, "INSTALL_FAILED_MISSING_SHARED_LIBRARY", ABI_INCOMPATIBLE),
            Known(-10, "INSTALL_FAILED_REPLACE_COULDNT_DELETE", INSTALL_CONFLICT),
            Known(-11, "INSTALL_FAILED_DEXOPT", APK_INVALID),
            Known(-12, "INSTALL_FAILED_OLDER_SDK", SDK_TOO_OLD),
            Known(-13, "INSTALL_FAILED_CONFLICTING_PROVIDER", INSTALL_CONFLICT),
            Known(-14, "INSTALL_FAILED_NEWER_SDK", SDK_TOO_OLD),
            Known(-15, "INSTALL_FAILED_TEST_ONLY", APK_INVALID),
            Known(-16, "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE", ABI_INCOMPATIBLE),
            Known(-17, "INSTALL_FAILED_MISSING_FEATURE", ABI_INCOMPATIBLE),
            Known(-18, "INSTALL_FAILED_CONTAINER_ERROR", INSUFFICIENT_STORAGE),
            Known(-19, "INSTALL_FAILED_INVALID_INSTALL_LOCATION", INSUFFICIENT_STORAGE),
            Known(-20, "INSTALL_FAILED_MEDIA_UNAVAILABLE", INSUFFICIENT_STORAGE),
            Known(-21, "INSTALL_FAILED_VERIFICATION_TIMEOUT", VERIFIER_TIMEOUT),
            Known(-22, "INSTALL_FAILED_VERIFICATION_FAILURE", VERIFIER_BLOCKED),
            Known(-23, "INSTALL_FAILED_PACKAGE_CHANGED", APK_INVALID),
            Known(-24, "INSTALL_FAILED_UID_CHANGED", APK_INVALID),
            Known(-25, "INSTALL_FAILED_VERSION_DOWNGRADE", VERSION_DOWNGRADE),
            Known(-26, "INSTALL_FAILED_PERMISSION_MODEL_DOWNGRADE", VERSION_DOWNGRADE),
            Known(-27, "INSTALL_FAILED_SANDBOX_VERSION_DOWNGRADE", VERSION_DOWNGRADE),
            Known(-28, "INSTALL_FAILED_MISSING_SPLIT", APK_INVALID),
            Known(-29, "INSTALL_FAILED_DEPRECATED_SDK_VERSION", APK_INVALID),
            Known(-100, "INSTALL_PARSE_FAILED_NOT_APK", APK_INVALID),
            Known(-101, "INSTALL_PARSE_FAILED_BAD_MANIFEST", APK_INVALID),
            Known(-102, "INSTALL_PARSE_FAILED_UNEXPECTED_EXCEPTION", APK_INVALID),
            Known(-103, "INSTALL_PARSE_FAILED_NO_CERTIFICATES", SIGNATURE_INVALID),
            Known(-104, "INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES", SIGNATURE_INVALID),
            Known(-105, "INSTALL_PARSE_FAILED_CERTIFICATE_ENCODING", SIGNATURE_INVALID),
            Known(-106, "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME", APK_INVALID),
            Known(-107, "INSTALL_PARSE_FAILED_BAD_SHARED_USER_ID", APK_INVALID),
            Known(-108, "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED", APK_INVALID),
            Known(-109, "INSTALL_PARSE_FAILED_MANIFEST_EMPTY", APK_INVALID),
            Known(-110, "INSTALL_FAILED_INTERNAL_ERROR", INSTALL_INTERNAL),
            Known(-111, "INSTALL_FAILED_USER_RESTRICTED", NOT_PERMITTED),
            Known(-112, "INSTALL_FAILED_DUPLICATE_PERMISSION", INSTALL_CONFLICT),
            Known(-113, "INSTALL_FAILED_NO_MATCHING_ABIS", ABI_INCOMPATIBLE),
            Known(-115, "INSTALL_FAILED_ABORTED", INSTALL_ABORTED),
            Known(-116, "INSTALL_FAILED_SESSION_INVALID", INSTALL_ABORTED),
            Known(-117, "INSTALL_FAILED_BAD_DEX_METADATA", APK_INVALID),
            Known(-118, "INSTALL_FAILED_BAD_SIGNATURE", SIGNATURE_INVALID),
            Known(-119, "INSTALL_FAILED_OTHER_STAGED_SESSION_IN_PROGRESS", INSTALL_ABORTED),
            Known(-120, "INSTALL_FAILED_MULTIPACKAGE_INCONSISTENCY", APK_INVALID),
            Known(-121, "INSTALL_FAILED_WRONG_INSTALLED_VERSION", INSTALL_CONFLICT),
            Known(-122, "INSTALL_FAILED_PROCESS_NOT_DEFINED", APK_INVALID),
            Known(-124, "INSTALL_PARSE_FAILED_RESOURCES_ARSC_COMPRESSED", APK_INVALID),
            Known(-125, "INSTALL_PARSE_FAILED_SKIPPED", APK_INVALID),
            Known(-126, "INSTALL_FAILED_DUPLICATE_PERMISSION_GROUP", INSTALL_CONFLICT),
            Known(-127, "INSTALL_FAILED_BAD_PERMISSION_GROUP", INSTALL_CONFLICT),
            Known(-128, "INSTALL_ACTIVATION_FAILED", INSTALL_INTERNAL),
            Known(-129, "INSTALL_FAILED_PRE_APPROVAL_NOT_AVAILABLE", INSTALL_BLOCKED),
            Known(-130, "INSTALL_FAILED_SHARED_LIBRARY_BAD_CERTIFICATE_DIGEST", ABI_INCOMPATIBLE),
            Known(-131, "INSTALL_FAILED_MULTI_ARCH_NOT_MATCH_ALL_NATIVE_ABIS", ABI_INCOMPATIBLE),
        )
}
