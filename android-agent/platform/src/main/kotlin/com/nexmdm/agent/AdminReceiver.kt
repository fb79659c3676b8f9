package com.nexmdm.agent

import android.app.admin.DeviceAdminReceiver
import android.content.Context
import android.content.Intent
import com.nexmdm.agent.android.AgentHost
import com.nexmdm.agent.android.provisionFrom

/** The device's administrator. Its name must never change: device ownership is bound to it. */
public class AdminReceiver : DeviceAdminReceiver() {
    override fun onEnabled(context: Context, intent: Intent): Unit = AgentHost.of(context).wake()

    /** Up to Android 11 this is how the provisioning hands over; later ones ask the app itself as well. */
    override fun onProfileProvisioningComplete(context: Context, intent: Intent): Unit =
        provisionFrom(context, intent)
}
