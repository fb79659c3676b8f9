package com.nexmdm.agent.android

import android.app.job.JobInfo
import android.app.job.JobScheduler
import android.content.ComponentName
import android.content.Context
import android.os.Build

/** When the platform wakes the agent. The numbers of the jobs must never change: jobs outlive updates. */
internal class WorkScheduler(private val context: Context) {
    private val scheduler: JobScheduler = context.service()

    /** Once, as soon as there is a network after [inMs]; takes the place of what was arranged before. */
    fun comeBack(inMs: Long) {
        if (inMs > LONGEST_MS) return
        scheduler.schedule(
            job(NEXT)
                .setRequiredNetworkType(JobInfo.NETWORK_TYPE_ANY)
                .setMinimumLatency(inMs.coerceAtLeast(0))
                .setPersisted(true)
                .build(),
        )
    }

    /** At once, network or not: there is news from the platform or the server. */
    fun comeNow() {
        val isComing = Build.VERSION.SDK_INT >= Build.VERSION_CODES.S && isHurrying()
        if (!isComing) scheduler.schedule(job(NEWS).setOverrideDeadline(0).build())
    }

    /** Whatever else goes wrong, the agent is back within a quarter of an hour. */
    fun keepComing() {
        if (scheduler.getPendingJob(REGULAR) != null) return
        scheduler.schedule(job(REGULAR).setPeriodic(REGULAR_MS).setPersisted(true).build())
    }

    /** False if the platform grants this app no more haste for now: then the job is not scheduled at all. */
    @NewerApi(31)
    private fun isHurrying(): Boolean =
        scheduler.schedule(job(NEWS).setExpedited(true).build()) == JobScheduler.RESULT_SUCCESS

    private fun job(id: Int) = JobInfo.Builder(id, ComponentName(context, WorkJob::class.java))

    private companion object {
        const val NEXT = 1
        const val NEWS = 2
        const val REGULAR = 3
        const val REGULAR_MS = 15 * 60_000L
        const val LONGEST_MS = 24 * 3600_000L
    }
}
