package com.nexmdm.agent.proto

import com.nexmdm.agent.model.InstalledPackage
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** One entry that the server refuses would cost the whole heartbeat, and with it the device. */
class InventoryTest {
    @Test
    fun `of too many packages the agent and what was updated last are told`() {
        val many = (1..300L).map { InstalledPackage("com.app$it", 1, updatedAt = it) }
        val told = (many + InstalledPackage("com.nexmdm", 9)).toBodies("com.nexmdm")
        assertEquals(200, told.size)
        assertEquals(listOf("com.nexmdm", "com.app300", "com.app299"), told.take(3).map { it.packageName })
    }

    @Test
    fun `names that the server would refuse stay here, and long version names are cut`() {
        val odd = listOf("a-b.c", "1.x", "", "a..b", "a.b.", "x.".repeat(150) + "y").map { InstalledPackage(it, 1) }
        val told = (odd + InstalledPackage("com.app", 7, "v".repeat(1000), setOf("a", "b"))).toBodies("com.nexmdm")
        assertEquals(listOf("com.app"), told.map { it.packageName })
        assertEquals(255, told.single().versionName?.length)
        assertNull(told.single().signerSha256, "of several signers none is the one")
        assertTrue(emptyList<InstalledPackage>().toBodies("com.nexmdm").isEmpty())
    }
}
