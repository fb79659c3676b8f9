package com.nexmdm.agent.policy

import com.nexmdm.agent.model.ApkSpec
import com.nexmdm.agent.model.InstallMode
import com.nexmdm.agent.model.InstalledPackage

public object Versions {
    public enum class Standing { TO_DO, ALREADY_THERE, NEWER_THERE }

    /** A reinstall goes to any other version; an update only upwards, because Android refuses the rest. */
    public fun standing(apk: ApkSpec, installed: InstalledPackage?, mode: InstallMode): Standing =
        when {
            installed == null -> Standing.TO_DO
            installed.versionCode > apk.versionCode && mode == InstallMode.UPDATE -> Standing.NEWER_THERE
            installed.versionCode == apk.versionCode -> Standing.ALREADY_THERE
            else -> Standing.TO_DO
        }
}
