package com.nexmdm.agent.engine

import com.nexmdm.agent.model.Report
import com.nexmdm.agent.model.Status

/** Reports that the server has not yet taken, oldest first. */
internal object Outbox {
    const val MAX = 500

    /** A newer progress takes the place of an older one; when full, what says least goes first. */
    fun add(waiting: List<Report>, report: Report): List<Report> {
        val kept = if (isProgress(report)) waiting.filterNot { isProgress(it) && it.key == report.key } else waiting
        return shortened(kept + report)
    }

    private fun shortened(all: List<Report>): List<Report> {
        if (all.size <= MAX) return all
        val victim = all.firstOrNull(::isProgress) ?: all.firstOrNull { !it.status.isFinal } ?: all.first()
        return all - victim
    }

    private fun isProgress(report: Report): Boolean = report.status == Status.DOWNLOADING && report.progress != 0
}
