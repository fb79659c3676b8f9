package com.nexmdm.agent.android

import android.Manifest
import android.annotation.SuppressLint
import android.app.admin.DevicePolicyManager
import android.content.ComponentName
import android.content.Context
import android.os.Build
import com.nexmdm.agent.AdminReceiver

/** What this app may do as device owner, and what it gives itself as such. */
internal class DevicePolicy(private val context: Context) {
    private val manager: DevicePolicyManager = context.service()
    private val admin = ComponentName(context, AdminReceiver::class.java)

    val isOwner: Boolean get() = manager.isDeviceOwnerApp(context.packageName)

    /** What a work device needs no person for. Safe to repeat; does nothing where this app is not the owner. */
    fun settle() {
        if (!isOwner) return
        grant(Manifest.permission.READ_PHONE_STATE)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) grant(Manifest.permission.POST_NOTIFICATIONS)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) keepRunning()
    }

    /** Null where the platform does not tell it to this app. */
    @SuppressLint("MissingPermission", "HardwareIds")
    fun serial(): String? =
        try {
            Build.getSerial().takeUnless { it == Build.UNKNOWN }
        } catch (_: SecurityException) {
            null
        }

    private fun grant(permission: String) {
        val granted = DevicePolicyManager.PERMISSION_GRANT_STATE_GRANTED
        manager.setPermissionGrantState(admin, context.packageName, permission, granted)
    }

    /** A force-stopped agent hears neither pushes nor alarms. */
    @NewerApi(30)
    private fun keepRunning(): Unit = manager.setUserControlDisabledPackages(admin, listOf(context.packageName))
}
