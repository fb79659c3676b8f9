package com.nexmdm.agent.engine

import java.time.Duration
import java.time.Instant

/** The time as the server told it last; the device's own clock may be wrong by years. */
public class ServerTime(private val clock: Clock) {
    @Volatile
    private var ahead: Duration = Duration.ZERO

    public fun now(): Instant = clock.now().plus(ahead)

    public fun learn(serverNow: Instant) {
        ahead = Duration.between(clock.now(), serverNow)
    }
}
