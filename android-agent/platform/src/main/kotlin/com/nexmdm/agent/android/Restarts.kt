package com.nexmdm.agent.android

import android.content.ActivityNotFoundException
import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.content.pm.ActivityInfo
import com.nexmdm.agent.model.RestartIntent
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull

/** Sends the restart intent to the package that was installed and to nobody else: no data, no grants, no selector. */
internal class Restarts(private val context: Context) {
    private val manager = context.packageManager

    /** False if nothing in the package resolves it, or the platform refuses. */
    fun send(packageName: String, asked: RestartIntent): Boolean {
        val intent = Intent(asked.action).setPackage(packageName)
        asked.extras.forEach { (name, value) -> intent.put(name, value) }
        return try {
            startActivity(intent) || sendBroadcast(intent)
        } catch (_: SecurityException) {
            false
        } catch (_: ActivityNotFoundException) {
            false
        }
    }

    private fun startActivity(intent: Intent): Boolean {
        val target = manager.resolveActivity(intent, 0)?.activityInfo ?: return false
        context.startActivity(Intent(intent).setComponent(target.component()).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK))
        return true
    }

    private fun sendBroadcast(intent: Intent): Boolean {
        val target = manager.queryBroadcastReceivers(intent, 0).firstOrNull()?.activityInfo ?: return false
        val flags = Intent.FLAG_INCLUDE_STOPPED_PACKAGES or Intent.FLAG_RECEIVER_FOREGROUND
        context.sendBroadcast(Intent(intent).setComponent(target.component()).addFlags(flags))
        return true
    }

    private fun ActivityInfo.component() = ComponentName(packageName, name)

    private fun Intent.put(name: String, value: JsonPrimitive) {
        when {
            value.isString -> putExtra(name, value.content)
            value.booleanOrNull != null -> putExtra(name, value.booleanOrNull ?: false)
            value.longOrNull != null -> putExtra(name, value.longOrNull ?: 0)
            value.doubleOrNull != null -> putExtra(name, value.doubleOrNull ?: 0.0)
        }
    }
}
