package com.nexmdm.agent.store

import org.junit.jupiter.api.io.TempDir
import java.nio.file.Files
import java.nio.file.Path
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull

class ProvisionTest {
    @TempDir
    lateinit var folder: Path

    @Test
    fun `an address of https, or of this very machine, is taken without its last slash`() {
        assertEquals("https://mdm.example.com", Provision.of(" https://mdm.example.com/ ", "nxe_1")?.server)
        assertEquals("http://127.0.0.1:8000", Provision.of("http://127.0.0.1:8000", "nxe_1")?.server)
    }

    @Test
    fun `plain http to elsewhere, a password in the address, nonsense and a missing part are refused`() {
        val refused = listOf("http://mdm.example.com", "https://a:b@mdm.example.com", "mdm.example.com", "", null)
        val halves = listOf("https://", "https:///x", "https://s.test?a=", "https://s.test/#a", "https://${long(500)}")
        (refused + halves).forEach { assertNull(Provision.of(it, "nxe_1"), it) }
        for (token in listOf("a b", "a\u0000", "\u202e", long(501))) {
            assertNull(Provision.of("https://mdm.example.com", token), token)
        }
        assertNull(Provision.of("https://mdm.example.com", " "))
        assertNull(Provision.of("https://mdm.example.com", null))
    }

    private fun long(length: Int) = "s".repeat(length)

    @Test
    fun `what was written is read again, and a torn file is none`() {
        val path = folder.resolve("provision.json")
        val file = ProvisionFile(DiskFile(path))
        assertNull(file.read())
        file.write(Provision("https://mdm.example.com", "nxe_1"))
        assertEquals(Provision("https://mdm.example.com", "nxe_1"), file.read())
        Files.write(path, Files.readAllBytes(path).copyOf(20))
        assertNull(file.read())
    }
}
