package com.nexmdm.agent.android

import android.content.Context
import android.os.Build
import android.os.PowerManager
import com.nexmdm.agent.engine.DevicePort
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.InstallRight
import com.nexmdm.agent.model.RestartIntent
import java.util.TimeZone

/** The device as it is now. */
internal class AndroidDevice(private val context: Context, private val notices: Notices) : DevicePort {
    private val network = NetworkProbe(context)
    private val policy = DevicePolicy(context)

    override fun snapshot(): DeviceSnapshot {
        val link = network.look()
        val power = powerOf(context)
        return DeviceSnapshot(
            network = link.kind,
            metered = link.metered,
            battery = power.percent,
            charging = power.plugged,
            freeStorageMb = freeStorageMb(context),
            dozeExempt = context.service<PowerManager>().isIgnoringBatteryOptimizations(context.packageName),
            inCall = isInCall(context),
            deviceOwner = policy.isOwner,
            zone = TimeZone.getDefault().id,
            installRight = installRight(),
        )
    }

    override fun prompt(session: Int): Boolean {
        val question = InstallPrompts(context).of(session) ?: return false
        return notices.ask(session, question)
    }

    override fun launch(packageName: String, intent: RestartIntent): Boolean =
        Restarts(context).send(packageName, intent)

    private fun installRight(): InstallRight =
        when {
            policy.isOwner -> InstallRight.SILENT
            context.packageManager.canRequestPackageInstalls() && notices.canAsk() -> InstallRight.PROMPT
            else -> InstallRight.NONE
        }
}

/** Who this device is. The serial number is for device owners; others get Android's number for this app and device. */
internal fun identityOf(context: Context): DeviceIdentity {
    val own = context.packageManager.getPackageInfo(context.packageName, 0)
    return DeviceIdentity(
        serial = DevicePolicy(context).serial() ?: "android-${androidId(context)}",
        model = Build.MODEL,
        manufacturer = Build.MANUFACTURER,
        sdkInt = Build.VERSION.SDK_INT,
        abis = Build.SUPPORTED_ABIS.toList(),
        agentPackage = context.packageName,
        agentVersion = own.versionName ?: "0",
    )
}

internal inline fun <reified T> Context.service(): T = getSystemService(T::class.java)
