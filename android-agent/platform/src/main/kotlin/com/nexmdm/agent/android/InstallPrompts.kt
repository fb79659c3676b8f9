package com.nexmdm.agent.android

import android.content.Context
import android.content.Intent
import java.net.URISyntaxException

/** The platform's questions to a person, by session; on disk, because the process may end before they are shown. */
internal class InstallPrompts(context: Context) {
    private val kept =
        context.createDeviceProtectedStorageContext().getSharedPreferences("prompts", Context.MODE_PRIVATE)

    fun keep(session: Int, question: Intent?) {
        if (question != null) kept.edit().putString("$session", question.toUri(Intent.URI_INTENT_SCHEME)).commit()
    }

    fun of(session: Int): Intent? =
        kept.getString("$session", null)?.let { text ->
            try {
                Intent.parseUri(text, Intent.URI_INTENT_SCHEME)
            } catch (_: URISyntaxException) {
                null
            }
        }

    fun forget(session: Int) {
        if (kept.contains("$session")) kept.edit().remove("$session").apply()
    }
}
