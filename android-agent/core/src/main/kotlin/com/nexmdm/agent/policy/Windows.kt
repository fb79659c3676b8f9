package com.nexmdm.agent.policy

import com.nexmdm.agent.model.Window
import java.time.DateTimeException
import java.time.Instant
import java.time.LocalDate
import java.time.LocalTime
import java.time.ZoneId
import java.time.ZonedDateTime

public object Windows {
    private val days = listOf("mon", "tue", "wed", "thu", "fri", "sat", "sun")

    /**
     * Whether [window] is open at [at]; a night belongs to the day on which it starts. A window that cannot be read
     * is closed: nothing is installed by a rule that was not understood.
     */
    public fun isOpen(window: Window?, at: Instant, deviceZone: String?): Boolean {
        if (window == null) return true
        val (from, until) = window.startIso to window.endIso
        if (from != null && until != null) return at >= from && at < until
        return try {
            openByTheClock(window, at.atZone(zoneOf(window.tz, deviceZone)))
        } catch (_: DateTimeException) {
            false
        }
    }

    private fun openByTheClock(window: Window, local: ZonedDateTime): Boolean {
        val start = LocalTime.parse(window.start)
        val end = LocalTime.parse(window.end)
        val today = local.toLocalDate()

        fun isIn(day: LocalDate): Boolean =
            startsOn(window, day) && local.toInstant() in span(day, start, end, local.zone)
        return isIn(today) || isIn(today.minusDays(1))
    }

    private fun startsOn(window: Window, day: LocalDate): Boolean =
        window.days == null || days[day.dayOfWeek.value - 1] in window.days.map(String::lowercase)

    /** Wall-clock ends become instants here, so a night with a clock change is an hour shorter or longer. */
    private fun span(day: LocalDate, start: LocalTime, end: LocalTime, zone: ZoneId): OpenEndRange<Instant> {
        val lastDay = if (end > start) day else day.plusDays(1)
        return day.atTime(start).atZone(zone).toInstant()..<lastDay.atTime(end).atZone(zone).toInstant()
    }

    private fun zoneOf(named: String?, device: String?): ZoneId =
        ZoneId.of(if (named == null || named == "device") device ?: "UTC" else named)
}
