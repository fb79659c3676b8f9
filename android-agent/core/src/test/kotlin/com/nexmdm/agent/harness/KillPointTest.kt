package com.nexmdm.agent.harness

import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import kotlin.test.assertTrue

/** Every path, with the process ending before and after every single touch of the outside world. */
class KillPointTest {
    @TestFactory
    fun `one truthful end from every kill point of`(): List<DynamicTest> =
        Paths.all.map { path ->
            DynamicTest.dynamicTest(path.name) {
                val unharmed = path.world().run()
                path.verify(unharmed, "unharmed")
                assertTrue(unharmed.fuse.count > 20, "hardly anything was touched")
                for (point in 1..unharmed.fuse.count) {
                    val world = path.world()
                    world.fuse.killAt = point
                    path.verify(world.run(), "killed at $point")
                }
            }
        }

    @TestFactory
    fun `a second death soon after the first changes nothing for`(): List<DynamicTest> =
        Paths.all.map { path ->
            DynamicTest.dynamicTest(path.name) {
                val points = path.world().run().fuse.count
                for (point in 1..points step 6) {
                    for (later in listOf(1, 4, 9)) {
                        val world = path.world()
                        world.fuse.killAt = point
                        while (world.deaths == 0 && !world.isAtRest()) world.run(steps = 1)
                        world.fuse.killAt = point + later
                        path.verify(world.run(), "killed at $point and $later later")
                    }
                }
            }
        }
}
