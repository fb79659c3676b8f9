package com.nexmdm.agent.android

import android.annotation.SuppressLint
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.media.AudioManager
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.BatteryManager
import android.os.Build
import android.os.storage.StorageManager
import android.provider.Settings
import com.nexmdm.agent.model.Network
import java.io.IOException

internal class Link(val kind: Network, val metered: Boolean?)

internal class NetworkProbe(context: Context) {
    private val manager: ConnectivityManager = context.service()

    fun look(): Link {
        val now = manager.getNetworkCapabilities(manager.activeNetwork) ?: return Link(Network.NONE, null)
        val kind = KINDS.firstOrNull { now.hasTransport(it.first) }?.second
        return Link(kind ?: Network.CELLULAR, !isFree(now))
    }

    private fun isFree(now: NetworkCapabilities): Boolean =
        now.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED) ||
            (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R && isFreeForNow(now))

    @NewerApi(30)
    private fun isFreeForNow(now: NetworkCapabilities): Boolean =
        now.hasCapability(NetworkCapabilities.NET_CAPABILITY_TEMPORARILY_NOT_METERED)

    private companion object {
        val KINDS =
            listOf(
                NetworkCapabilities.TRANSPORT_ETHERNET to Network.ETHERNET,
                NetworkCapabilities.TRANSPORT_WIFI to Network.WIFI,
                NetworkCapabilities.TRANSPORT_CELLULAR to Network.CELLULAR,
            )
    }
}

internal class Power(val percent: Int?, val plugged: Boolean?)

/** From the last broadcast of the battery. A box without one is always full and plugged in. */
internal fun powerOf(context: Context): Power {
    val last = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED)) ?: return Power(null, null)
    if (!last.getBooleanExtra(BatteryManager.EXTRA_PRESENT, true)) return Power(100, true)
    val level = last.getIntExtra(BatteryManager.EXTRA_LEVEL, -1)
    val scale = last.getIntExtra(BatteryManager.EXTRA_SCALE, 0)
    val plugged = last.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0
    return Power(if (level >= 0 && scale > 0) level * 100 / scale else null, plugged)
}

/** What could be had for an install: free, and what the platform would clear from caches. */
internal fun freeStorageMb(context: Context): Long? =
    try {
        val storage = context.service<StorageManager>()
        storage.getAllocatableBytes(storage.getUuidForPath(context.filesDir)) / (1024 * 1024)
    } catch (_: IOException) {
        null
    }

/** Ringing, talking, being screened, on the phone or in an app: every mode but the normal one. No permission needed. */
internal fun isInCall(context: Context): Boolean = context.service<AudioManager>().mode > AudioManager.MODE_NORMAL

@SuppressLint("HardwareIds")
internal fun androidId(context: Context): String =
    Settings.Secure.getString(context.contentResolver, Settings.Secure.ANDROID_ID) ?: "unknown"
