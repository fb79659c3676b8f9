package com.nexmdm.agent.android

import android.app.admin.DevicePolicyManager
import android.content.Context
import android.content.Intent
import android.os.Build
import android.os.PersistableBundle
import com.nexmdm.agent.store.Provision

/** Takes server address and enrolment token from the provisioning's extras, if they are there and allowed. */
internal fun provisionFrom(context: Context, intent: Intent) {
    val extras = extrasOf(intent)
    val provision = Provision.of(extras?.getString(Provision.SERVER), extras?.getString(Provision.TOKEN)) ?: return
    AgentHost.of(context).provisioned(provision)
}

private fun extrasOf(intent: Intent): PersistableBundle? {
    val name = DevicePolicyManager.EXTRA_PROVISIONING_ADMIN_EXTRAS_BUNDLE
    return if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) {
        typedExtras(intent, name)
    } else {
        @Suppress("DEPRECATION")
        intent.getParcelableExtra(name)
    }
}

@NewerApi(33)
private fun typedExtras(intent: Intent, name: String): PersistableBundle? =
    intent.getParcelableExtra(name, PersistableBundle::class.java)
