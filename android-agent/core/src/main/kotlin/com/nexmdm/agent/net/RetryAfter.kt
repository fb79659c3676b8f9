package com.nexmdm.agent.net

import java.time.DateTimeException
import java.time.Duration
import java.time.ZonedDateTime
import java.time.format.DateTimeFormatter

internal object RetryAfter {
    /** Milliseconds, from a number of seconds or a date; the date counts from the server's own clock. */
    fun of(exchange: HttpExchange): Long? {
        val text = exchange.header("Retry-After")?.trim() ?: return null
        text.toLongOrNull()?.let { return it.coerceIn(0, 86_400) * 1000 }
        val now = exchange.header("Date") ?: return null
        return try {
            Duration.between(date(now), date(text)).toMillis().coerceAtLeast(0)
        } catch (_: DateTimeException) {
            null
        }
    }

    private fun date(text: String): ZonedDateTime = ZonedDateTime.parse(text, DateTimeFormatter.RFC_1123_DATE_TIME)
}
