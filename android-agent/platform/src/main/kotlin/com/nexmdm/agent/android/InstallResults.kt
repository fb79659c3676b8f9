package com.nexmdm.agent.android

import android.app.PendingIntent
import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentSender
import android.content.pm.PackageInstaller
import android.net.Uri
import android.os.Build
import com.nexmdm.agent.policy.InstallStatus
import com.nexmdm.agent.policy.InstallVerdict
import com.nexmdm.agent.policy.PlatformStatus

/**
 * Hears how an install or an uninstall ended. In the manifest, not exported and always addressed by its name: a result
 * finds it in whatever process the agent lives by then, and nobody else can pretend to be the platform.
 */
public class InstallResults : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        val status = statusIn(intent)
        val removed = intent.getStringExtra(REMOVED)
        val session = intent.getIntExtra(SESSION, NONE)
        when {
            removed != null -> Uninstaller.ended(removed, status)
            session != NONE -> installed(context, session, intent, status)
        }
    }

    private fun installed(context: Context, session: Int, intent: Intent, status: PlatformStatus) {
        val verdict = InstallStatus.verdict(status)
        if (verdict is InstallVerdict.AskPerson) InstallPrompts(context).keep(session, questionIn(intent))
        val pending = goAsync()
        AgentHost.of(context).said(session, verdict) { pending.finish() }
    }

    @Suppress("DEPRECATION") // The typed call came with API 33, and had a bug in it there.
    private fun questionIn(intent: Intent): Intent? = intent.getParcelableExtra(Intent.EXTRA_INTENT)

    private fun statusIn(intent: Intent): PlatformStatus =
        PlatformStatus(
            status = intent.getIntExtra(PackageInstaller.EXTRA_STATUS, PackageInstaller.STATUS_FAILURE),
            legacy = if (intent.hasExtra(LEGACY_STATUS)) intent.getIntExtra(LEGACY_STATUS, 0) else null,
            message = intent.getStringExtra(PackageInstaller.EXTRA_STATUS_MESSAGE),
        )

    internal companion object {
        /** Not in the public API, but sent by every version: the exact reason, where the public status is coarse. */
        private const val LEGACY_STATUS = "android.content.pm.extra.LEGACY_STATUS"
        private const val SESSION = "com.nexmdm.agent.SESSION"
        private const val REMOVED = "com.nexmdm.agent.REMOVED"
        private const val NONE = -1

        fun sender(context: Context, session: Int): IntentSender =
            sender(context, "install:$session") { putExtra(SESSION, session) }

        fun senderOfRemoval(context: Context, packageName: String): IntentSender =
            sender(context, "remove:$packageName") { putExtra(REMOVED, packageName) }

        /** Mutable, because the platform fills in the result; explicit, so that this gives nobody anything. */
        private fun sender(context: Context, about: String, fill: Intent.() -> Unit): IntentSender {
            val intent = Intent(context, InstallResults::class.java).setData(Uri.fromParts("nexmdm", about, null))
            val mutable = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) PendingIntent.FLAG_MUTABLE else 0
            val flags = PendingIntent.FLAG_UPDATE_CURRENT or mutable
            return PendingIntent.getBroadcast(context, 0, intent.apply(fill), flags).intentSender
        }
    }
}
