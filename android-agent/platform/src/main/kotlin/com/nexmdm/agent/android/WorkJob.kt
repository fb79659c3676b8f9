package com.nexmdm.agent.android

import android.app.job.JobParameters
import android.app.job.JobService
import java.util.concurrent.ConcurrentHashMap

/** Holds the device awake while the agent works. Its name must never change: jobs outlive updates. */
public class WorkJob : JobService() {
    private val running = ConcurrentHashMap<Int, Holder>()

    override fun onStartJob(params: JobParameters): Boolean {
        val holder = Holder { jobFinished(params, false) }
        running[params.jobId] = holder
        AgentHost.of(this).work(holder)
        return true
    }

    /** Time is up or the network is gone. The work goes on from what is on disk when the platform allows it again. */
    override fun onStopJob(params: JobParameters): Boolean {
        running.remove(params.jobId)?.let { AgentHost.of(this).forget(it) }
        return true
    }
}
