package com.nexmdm.agent.app

import android.content.Context
import android.content.pm.PackageManager
import com.nexmdm.R
import com.nexmdm.agent.android.Standing
import com.nexmdm.agent.android.lastResult
import com.nexmdm.agent.android.packageAtWork
import com.nexmdm.agent.android.versionAtWork
import com.nexmdm.agent.engine.State
import com.nexmdm.agent.model.SkipReason
import com.nexmdm.agent.model.Status

/** The state in the words of the person who stands before the device. */
internal class Words(private val context: Context) {
    fun headline(standing: Standing, state: State?): String =
        when (standing) {
            Standing.NOT_SET_UP -> context.getString(R.string.standing_not_set_up)
            Standing.REFUSED -> context.getString(R.string.standing_refused)
            Standing.CONNECTING -> context.getString(R.string.standing_connecting)
            Standing.TURNED_AWAY -> context.getString(R.string.standing_turned_away)
            Standing.READY -> context.getString(R.string.standing_ready)
            Standing.PREPARING -> context.getString(R.string.standing_preparing)
            Standing.DOWNLOADING -> context.getString(R.string.standing_downloading, atWork(state))
            Standing.INSTALLING -> context.getString(R.string.standing_installing, atWork(state))
            Standing.NEEDS_PERSON -> context.getString(R.string.standing_needs_person, atWork(state))
        }

    fun hint(standing: Standing, refusal: String?): String =
        when (standing) {
            Standing.NOT_SET_UP -> context.getString(R.string.hint_not_set_up)
            Standing.REFUSED -> context.getString(R.string.hint_refused, refusal.orEmpty())
            Standing.CONNECTING -> context.getString(R.string.hint_connecting)
            Standing.TURNED_AWAY -> context.getString(R.string.hint_turned_away)
            Standing.READY -> context.getString(R.string.hint_ready)
            Standing.NEEDS_PERSON -> context.getString(R.string.hint_needs_person)
            else -> context.getString(R.string.hint_working)
        }

    fun last(state: State?): String {
        val (status, code) = state?.lastResult ?: return context.getString(R.string.none_yet)
        return when (status) {
            Status.SUCCEEDED -> context.getString(R.string.last_succeeded)
            Status.SKIPPED -> context.getString(R.string.last_skipped, context.getString(whyPutOff(code)))
            else -> context.getString(R.string.last_failed, code.orEmpty())
        }
    }

    private fun whyPutOff(code: String?): Int =
        when (SkipReason.entries.firstOrNull { it.wire == code }) {
            SkipReason.NO_WIFI -> R.string.why_no_wifi
            SkipReason.METERED_NETWORK -> R.string.why_metered_network
            SkipReason.BATTERY_LOW -> R.string.why_battery_low
            SkipReason.NOT_CHARGING -> R.string.why_not_charging
            SkipReason.LOW_STORAGE -> R.string.why_low_storage
            SkipReason.IN_CALL -> R.string.why_in_call
            SkipReason.IN_USE -> R.string.why_in_use
            SkipReason.OUTSIDE_WINDOW -> R.string.why_outside_window
            SkipReason.NEWER_INSTALLED -> R.string.why_newer_installed
            SkipReason.CANCELED, null -> R.string.why_called_off
        }

    private fun atWork(state: State?): String {
        val name = state?.packageAtWork ?: return context.getString(R.string.app_name)
        return listOfNotNull(label(name), state.versionAtWork).joinToString(" ")
    }

    private fun label(packageName: String): String {
        val manager = context.packageManager
        return try {
            manager.getApplicationLabel(manager.getApplicationInfo(packageName, 0)).toString()
        } catch (_: PackageManager.NameNotFoundException) {
            packageName
        }
    }
}
