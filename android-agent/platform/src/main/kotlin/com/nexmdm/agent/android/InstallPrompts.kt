package com.nexmdm.agent.android

import android.content.Context
import android.content.Intent
import android.content.pm.ApplicationInfo
import java.net.URISyntaxException

/** The platform's questions to a person, by session; on disk, because the process may end before they are shown. */
internal class InstallPrompts(context: Context) {
    private val manager = context.packageManager
    private val kept =
        context.createDeviceProtectedStorageContext().getSharedPreferences("prompts", Context.MODE_PRIVATE)

    fun keep(session: Int, question: Intent?) {
        if (question != null) kept.edit().putString("$session", question.toUri(Intent.URI_INTENT_SCHEME)).commit()
    }

    /** Null if there is none, or none that a part of the system would show: nobody else asks in its name. */
    fun of(session: Int): Intent? = kept.getString("$session", null)?.let(::read)?.takeIf(::isOfTheSystem)

    private fun read(text: String): Intent? =
        try {
            Intent.parseUri(text, Intent.URI_INTENT_SCHEME)
        } catch (_: URISyntaxException) {
            null
        }

    private fun isOfTheSystem(question: Intent): Boolean {
        val shows = manager.resolveActivity(question, 0)?.activityInfo?.applicationInfo
        return shows != null && shows.flags and ApplicationInfo.FLAG_SYSTEM != 0
    }

    fun forget(session: Int) {
        if (kept.contains("$session")) kept.edit().remove("$session").apply()
    }
}
