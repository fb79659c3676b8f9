package com.nexmdm.agent.android

import android.app.Activity
import android.app.admin.DevicePolicyManager
import android.content.Intent
import android.os.Bundle

/** From Android 12 on the set-up wizard asks how the device is to be managed: as a whole. */
public class ProvisioningModeActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val mode = DevicePolicyManager.PROVISIONING_MODE_FULLY_MANAGED_DEVICE
        setResult(RESULT_OK, Intent().putExtra(DevicePolicyManager.EXTRA_PROVISIONING_MODE, mode))
        finish()
    }
}

/** The last step of the set-up wizard from Android 12 on. Extras that cannot be used do not stop the set-up. */
public class PolicyComplianceActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        provisionFrom(this, intent)
        setResult(RESULT_OK)
        finish()
    }
}
