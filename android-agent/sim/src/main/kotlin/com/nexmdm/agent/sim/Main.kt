package com.nexmdm.agent.sim

import java.util.concurrent.CountDownLatch
import kotlin.system.exitProcess

internal fun main(arguments: Array<String>) {
    val options =
        try {
            Options.parse(arguments.toList(), System.getenv("ENROLLMENT_TOKEN"))
        } catch (e: IllegalArgumentException) {
            System.err.println(e.message)
            System.err.println(Options.USAGE)
            exitProcess(2)
        }
    Fleet(options).start()
    // Every other thread is a daemon: the first signal ends the process, and what is on disk is enough to go on.
    CountDownLatch(1).await()
}
