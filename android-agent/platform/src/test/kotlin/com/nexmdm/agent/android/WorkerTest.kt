package com.nexmdm.agent.android

import org.junit.jupiter.api.Timeout
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull

@Timeout(20)
class WorkerTest {
    private val pauses = LinkedBlockingQueue<Long>()
    private val told = LinkedBlockingQueue<String>()

    /** Each turn takes the next pause; without one it waits, so that a test decides when a turn ends. */
    private val worker =
        Worker(
            turn = {
                told.put("turn")
                pauses.take()
            },
            comeBack = { told.put("come back in $it") },
            stayMs = 50,
        )

    @Test
    fun `a long pause releases whoever holds the device awake, and only then asks to be woken`() {
        pauses.put(60_000)
        worker.call { told.put("released") }
        assertEquals(listOf("turn", "released", "come back in 60000"), List(3) { told.take() })
    }

    @Test
    fun `a short pause is waited out while somebody holds the device awake`() {
        pauses.put(5)
        pauses.put(60_000)
        worker.call { told.put("released") }
        assertEquals(listOf("turn", "turn", "released", "come back in 60000"), List(4) { told.take() })
    }

    @Test
    fun `a short pause is not waited out when nobody does`() {
        pauses.put(5)
        worker.call()
        assertEquals(listOf("turn", "come back in 5"), List(2) { told.take() })
        assertNull(told.poll(100, TimeUnit.MILLISECONDS))
    }

    @Test
    fun `a call during a turn brings another one`() {
        worker.call()
        assertEquals("turn", told.take())
        worker.call()
        pauses.put(60_000)
        assertEquals("turn", told.take())
        pauses.put(60_000)
        assertEquals("come back in 60000", told.take())
    }

    @Test
    fun `a holder that is gone is not released`() {
        val gone = Holder { told.put("released") }
        worker.call(gone)
        assertEquals("turn", told.take())
        worker.forget(gone)
        pauses.put(5)
        assertEquals("come back in 5", told.take())
    }

    @Test
    fun `two holders are both released by one turn`() {
        val released = CountDownLatch(2)
        worker.call { released.countDown() }
        told.take()
        worker.call { released.countDown() }
        pauses.put(5)
        pauses.put(60_000)
        released.await()
        assertEquals(listOf("turn", "come back in 60000"), List(2) { told.take() })
    }
}
