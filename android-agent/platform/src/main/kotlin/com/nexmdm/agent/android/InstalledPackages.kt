package com.nexmdm.agent.android

import android.content.Context
import android.content.pm.ApplicationInfo
import android.content.pm.PackageInfo
import android.content.pm.PackageManager
import android.content.pm.Signature
import android.os.Build
import com.nexmdm.agent.engine.PackagePort
import com.nexmdm.agent.model.InstalledPackage
import java.security.MessageDigest

/** PackageManager as the engine sees it. */
internal class InstalledPackages(context: Context) : PackagePort {
    private val manager: PackageManager = context.packageManager
    private val uninstaller = Uninstaller(context)
    private var known: Map<String, InstalledPackage> = emptyMap()

    override fun installed(packageName: String): InstalledPackage? =
        try {
            describe(manager.getPackageInfo(packageName, CERTIFICATES))
        } catch (_: PackageManager.NameNotFoundException) {
            null
        }

    /** What the manufacturer put there and nobody ever updated is left out. Certificates are read once per install. */
    @Synchronized
    override fun inventory(): List<InstalledPackage> {
        val present = manager.getInstalledPackages(0).filter(::canBeManaged)
        val now = present.mapNotNull { known[it.packageName]?.takeIf(it::isUnchanged) ?: installed(it.packageName) }
        known = now.associateBy { it.packageName }
        return now.sortedBy { it.packageName }
    }

    override fun uninstall(packageName: String): Unit = uninstaller.uninstall(packageName)

    private fun canBeManaged(info: PackageInfo): Boolean {
        val flags = info.applicationInfo?.flags ?: 0
        return flags and ApplicationInfo.FLAG_SYSTEM == 0 || flags and ApplicationInfo.FLAG_UPDATED_SYSTEM_APP != 0
    }

    private fun describe(info: PackageInfo): InstalledPackage =
        InstalledPackage(
            packageName = info.packageName,
            versionCode = versionCodeOf(info),
            versionName = info.versionName,
            signers = signersOf(info).map(::digest).toSet(),
            updatedAt = info.lastUpdateTime,
        )

    private fun digest(signature: Signature): String =
        MessageDigest.getInstance("SHA-256").digest(signature.toByteArray()).joinToString("") { "%02x".format(it) }

    private companion object {
        val CERTIFICATES =
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
                PackageManager.GET_SIGNING_CERTIFICATES
            } else {
                @Suppress("DEPRECATION")
                PackageManager.GET_SIGNATURES
            }
    }
}

private fun PackageInfo.isUnchanged(known: InstalledPackage): Boolean =
    known.updatedAt == lastUpdateTime && known.versionCode == versionCodeOf(this)

private fun versionCodeOf(info: PackageInfo): Long =
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
        longVersionCode(info)
    } else {
        @Suppress("DEPRECATION")
        info.versionCode.toLong()
    }

private fun signersOf(info: PackageInfo): List<Signature> =
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
        currentSigners(info)
    } else {
        @Suppress("DEPRECATION")
        info.signatures?.toList().orEmpty()
    }

@NewerApi(28)
private fun longVersionCode(info: PackageInfo): Long = info.longVersionCode

/** Those that sign now: what is left of a rotation's history is not among them. */
@NewerApi(28)
private fun currentSigners(info: PackageInfo): List<Signature> =
    info.signingInfo?.apkContentsSigners?.toList().orEmpty()
