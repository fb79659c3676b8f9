package com.nexmdm.agent.policy

import com.nexmdm.agent.model.Constraints
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.model.SkipReason

/** Why not now, with what was seen and what is asked. */
public data class Missed(
    public val reason: SkipReason,
    public val text: String,
)

public object Conditions {
    /** The first condition that is missed, in the server's order; null = go. An unknown value holds nobody back. */
    public fun missed(now: DeviceSnapshot, asked: Constraints, apkBytes: Long): Missed? =
        network(now, asked) ?: power(now, asked) ?: storage(now, asked, apkBytes, taken = 0) ?: busy(now)

    /** The same once the session is open: the room that it takes, now or to come, need no longer be free. */
    public fun lost(now: DeviceSnapshot, asked: Constraints, apkBytes: Long): Missed? =
        network(now, asked) ?: power(now, asked) ?: storage(now, asked, apkBytes, taken = apkBytes) ?: busy(now)

    private fun network(now: DeviceSnapshot, asked: Constraints): Missed? =
        when {
            !asked.wifiOnly -> null
            now.network == Network.CELLULAR || now.network == Network.NONE ->
                Missed(SkipReason.NO_WIFI, "network is ${now.network.name.lowercase()}")
            now.metered == true -> Missed(SkipReason.METERED_NETWORK, "the network is metered")
            else -> null
        }

    private fun power(now: DeviceSnapshot, asked: Constraints): Missed? {
        val battery = now.battery
        val least = asked.minBattery
        return when {
            battery != null && least != null && battery < least ->
                Missed(SkipReason.BATTERY_LOW, "battery at $battery %, $least % asked")
            asked.chargingOnly && now.charging == false -> Missed(SkipReason.NOT_CHARGING, "not on a charger")
            else -> null
        }
    }

    private fun storage(now: DeviceSnapshot, asked: Constraints, apkBytes: Long, taken: Long): Missed? {
        val free = now.freeStorageMb ?: return null
        val least = (asked.minFreeMb ?: leastFreeMb(apkBytes)) - (taken + MB - 1) / MB
        return if (free < least) Missed(SkipReason.LOW_STORAGE, "$free MB free, $least MB asked") else null
    }

    private fun busy(now: DeviceSnapshot): Missed? =
        when {
            now.inCall == true -> Missed(SkipReason.IN_CALL, "a call is going on")
            now.inUse == true -> Missed(SkipReason.IN_USE, "the device is being used")
            else -> null
        }

    /** 2.5 times the APK and 128 MB, in whole MB, for a server that names no number. */
    internal fun leastFreeMb(apkBytes: Long): Long = (apkBytes * 5 / 2) / MB + 128

    private const val MB = 1024L * 1024
}
