package com.nexmdm.agent.apk

import com.nexmdm.agent.harness.ApkFactory
import com.nexmdm.agent.harness.ApkFactory.signerA
import com.nexmdm.agent.harness.ApkFactory.signerB
import com.nexmdm.agent.harness.ByteChannel
import com.nexmdm.agent.harness.Scheme
import com.nexmdm.agent.harness.sha256
import net.jqwik.api.ForAll
import net.jqwik.api.Property
import net.jqwik.api.constraints.IntRange
import net.jqwik.api.constraints.Size
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs

class ApkInspectorTest {
    private fun read(apk: ByteArray, sdk: Int = 34): ApkFacts =
        assertIs<Inspection.Read>(ApkInspector.inspect(ByteChannel(apk), sdk)).facts

    @Test
    fun `package, version and signer are read from either kind of string pool`() {
        for (utf8 in listOf(false, true)) {
            val facts = read(ApkFactory.apk("com.shop.till", 77, minSdk = 29, utf8 = utf8))
            assertEquals("com.shop.till", facts.packageName)
            assertEquals(77, facts.versionCode)
            assertEquals("1.0.77", facts.versionName)
            assertEquals(29, facts.minSdk)
            assertEquals(ApkSigners("v2", listOf(sha256(signerA)), emptyList()), facts.signers)
        }
    }

    @Test
    fun `a rotated key shows the new signer and the old one as its lineage`() {
        val apk =
            ApkFactory.apk(schemes = listOf(Scheme.v2(signerA), Scheme.v3(signerB, lineage = listOf(signerA, signerB))))
        assertEquals(
            ApkSigners("v3", listOf(sha256(signerB)), listOf(sha256(signerA), sha256(signerB))),
            read(apk, sdk = 28).signers,
        )
        assertEquals(listOf(sha256(signerA)), read(apk, sdk = 27).signers.current)
    }

    @Test
    fun `a rotation from Android 13 on counts only there`() {
        val schemes =
            listOf(
                Scheme.v2(signerA),
                Scheme.v3(signerA, 28..32),
                Scheme.v31(signerB, lineage = listOf(signerA, signerB)),
            )
        val apk = ApkFactory.apk(schemes = schemes)
        assertEquals(listOf(sha256(signerB)), read(apk, sdk = 33).signers.current)
        assertEquals(listOf(sha256(signerA)), read(apk, sdk = 32).signers.current)
    }

    @Test
    fun `two signers are both seen`() {
        val apk = ApkFactory.apk(schemes = listOf(Scheme.v2(signerA, signerB)))
        assertEquals(listOf(sha256(signerA), sha256(signerB)), read(apk).signers.current)
    }

    @Test
    fun `no signing block is an unreadable signature`() {
        val answer = ApkInspector.inspect(ByteChannel(ApkFactory.apk(schemes = emptyList())), 34)
        assertIs<Inspection.SignatureUnreadable>(answer)
    }

    @Test
    fun `a v3 block for other Android versions is an unreadable signature`() {
        val apk = ApkFactory.apk(schemes = listOf(Scheme.v3(signerA, 28..30)))
        assertIs<Inspection.SignatureUnreadable>(ApkInspector.inspect(ByteChannel(apk), 34))
    }

    @Test
    fun `text is not an APK`() {
        assertIs<Inspection.NotAnApk>(ApkInspector.inspect(ByteChannel("hello".toByteArray()), 34))
        assertIs<Inspection.NotAnApk>(ApkInspector.inspect(ByteChannel(ByteArray(0)), 34))
    }

    @Test
    fun `an APK cut at any byte is never read as one`() {
        val apk = ApkFactory.apk(filler = 10)
        for (length in 0 until apk.size) {
            val answer = ApkInspector.inspect(ByteChannel(apk.copyOf(length)), 34)
            assert(answer !is Inspection.Read) { "read although cut at $length" }
        }
    }

    @Property(tries = 2000)
    fun `damage anywhere is answered, never thrown`(
        @ForAll @IntRange(max = 2000) at: Int,
        @ForAll byte: Byte,
        @ForAll @IntRange(max = 2000) secondAt: Int,
    ) {
        val apk = ApkFactory.apk(
            filler = 10,
            schemes = listOf(Scheme.v2(signerA), Scheme.v3(signerB, lineage = listOf(signerA))),
        )
        apk[at % apk.size] = byte
        apk[secondAt % apk.size] = -1
        ApkInspector.inspect(ByteChannel(apk), 34)
    }

    @Property(tries = 1000)
    fun `any bytes are answered, never thrown`(
        @ForAll @Size(max = 300) bytes: ByteArray,
    ) {
        ApkInspector.inspect(ByteChannel(bytes + ApkFactory.apk(filler = 0).takeLast(22)), 34)
    }
}
