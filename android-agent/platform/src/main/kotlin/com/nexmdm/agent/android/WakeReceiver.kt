package com.nexmdm.agent.android

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent

/** The device started, this app was replaced, or the server asked for a restart after an update: look at what is. */
public class WakeReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        if (intent.action in EXPECTED) AgentHost.of(context).wake()
    }

    private companion object {
        val EXPECTED =
            setOf(
                Intent.ACTION_BOOT_COMPLETED,
                Intent.ACTION_LOCKED_BOOT_COMPLETED,
                Intent.ACTION_MY_PACKAGE_REPLACED,
                "com.nexmdm.RESTART",
            )
    }
}
