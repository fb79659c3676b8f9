package com.nexmdm.agent.apk

import java.io.IOException
import java.nio.BufferUnderflowException
import java.nio.channels.SeekableByteChannel

/** The certificates' sha256 (lower-case hex): [current] sign now, [lineage] are what they grew from, oldest first. */
public data class ApkSigners(
    public val scheme: String,
    public val current: List<String>,
    public val lineage: List<String>,
)

/** What an APK says about itself. */
public data class ApkFacts(
    public val packageName: String,
    public val versionCode: Long,
    public val versionName: String?,
    public val minSdk: Int,
    public val signers: ApkSigners,
)

public sealed interface Inspection {
    public data class Read(public val facts: ApkFacts) : Inspection

    public data class SignatureUnreadable(public val why: String) : Inspection

    public data class NotAnApk(public val why: String) : Inspection
}

/**
 * Reads, does not verify: the bytes are bound by sha256 already and the platform verifies the signature at commit.
 * Memory is bounded whatever the file claims.
 */
public object ApkInspector {
    public fun inspect(channel: SeekableByteChannel, sdkInt: Int): Inspection {
        var manifestRead = false
        return try {
            val zip = ZipDirectory.read(channel)
            val manifest = ManifestReader.read(zip.content(channel, MANIFEST, MAX_MANIFEST))
            manifestRead = true
            Inspection.Read(manifest.withSigners(SigningBlock.signers(channel, zip.directoryStart, sdkInt)))
        } catch (e: IOException) {
            unreadable(manifestRead, e.message.orEmpty())
        } catch (_: BufferUnderflowException) {
            unreadable(manifestRead, "cut short")
        } catch (_: IndexOutOfBoundsException) {
            unreadable(manifestRead, "cut short")
        }
    }

    private fun unreadable(inSignature: Boolean, why: String): Inspection =
        if (inSignature) Inspection.SignatureUnreadable(why) else Inspection.NotAnApk(why)

    private const val MANIFEST = "AndroidManifest.xml"
    private const val MAX_MANIFEST = 4 * 1024 * 1024
}
