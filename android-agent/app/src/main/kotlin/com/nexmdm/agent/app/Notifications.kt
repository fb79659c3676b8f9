package com.nexmdm.agent.app

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import com.nexmdm.R
import com.nexmdm.agent.android.Notices
import com.nexmdm.agent.android.Standing
import com.nexmdm.agent.android.percent
import com.nexmdm.agent.engine.State

/** One quiet line while an update is on its way, and a loud one when a person is needed. */
internal class Notifications(private val context: Context) : Notices {
    private val manager: NotificationManager = context.getSystemService(NotificationManager::class.java)
    private val words = Words(context)
    private var shown: Pair<Standing, Int?>? = null

    init {
        channel(PROGRESS, R.string.channel_progress, NotificationManager.IMPORTANCE_LOW)
        channel(QUESTION, R.string.channel_question, NotificationManager.IMPORTANCE_HIGH)
    }

    override fun canAsk(): Boolean =
        manager.areNotificationsEnabled() &&
            manager.getNotificationChannel(QUESTION)?.importance != NotificationManager.IMPORTANCE_NONE

    override fun ask(session: Int, question: Intent): Boolean {
        if (!canAsk()) return false
        val press = PendingIntent.getActivity(context, session, question, FLAGS)
        val text = context.getString(R.string.hint_needs_person)
        val notification =
            line(QUESTION)
                .setContentTitle(context.getString(R.string.button_confirm))
                .setContentText(text)
                .setContentIntent(press)
                .setOngoing(true)
                .build()
        manager.notify(QUESTION, QUESTION_ID, notification)
        return true
    }

    @Synchronized
    override fun changed(state: State) {
        val now = Standing.of(state)
        if (now != Standing.NEEDS_PERSON) manager.cancel(QUESTION, QUESTION_ID)
        val step = now to state.percent
        if (step == shown) return
        shown = step
        if (now == Standing.DOWNLOADING || now == Standing.INSTALLING) {
            show(state)
        } else {
            manager.cancel(PROGRESS, PROGRESS_ID)
        }
    }

    private fun show(state: State) {
        val open = PendingIntent.getActivity(context, 0, Intent(context, StatusActivity::class.java), FLAGS)
        val notification =
            line(PROGRESS)
                .setContentTitle(words.headline(Standing.of(state), state))
                .setContentText(context.getString(R.string.hint_working))
                .setContentIntent(open)
                .setProgress(PERCENT, state.percent ?: 0, state.percent == null)
                .setOngoing(true)
                .setOnlyAlertOnce(true)
                .build()
        manager.notify(PROGRESS, PROGRESS_ID, notification)
    }

    private fun line(channel: String) =
        Notification
            .Builder(context, channel)
            .setSmallIcon(R.drawable.ic_mark)
            .setColor(context.getColor(R.color.brand))

    private fun channel(id: String, name: Int, importance: Int): Unit =
        manager.createNotificationChannel(NotificationChannel(id, context.getString(name), importance))

    private companion object {
        const val PROGRESS = "progress"
        const val QUESTION = "question"
        const val PROGRESS_ID = 1
        const val QUESTION_ID = 2
        const val PERCENT = 100
        const val FLAGS = PendingIntent.FLAG_IMMUTABLE or PendingIntent.FLAG_UPDATE_CURRENT
    }
}
