package com.nexmdm.agent.policy

import com.nexmdm.agent.apk.ApkSigners
import com.nexmdm.agent.model.InstalledPackage

public object Signers {
    /**
     * Null if the APK may replace [installed], else the sentence why not. [allowed] comes from the server and always
     * binds; the installed app's own certificate binds as well, through the APK's lineage where the key was rotated.
     */
    public fun objection(apk: ApkSigners, allowed: List<String>, installed: InstalledPackage?): String? {
        val known = installed?.signers.orEmpty()
        return when {
            apk.current.isEmpty() -> "the APK names no signer"
            !allowed.containsAll(apk.current) -> "signed by ${short(apk.current)}, the server expects ${short(allowed)}"
            known.isEmpty() -> null
            known.size > 1 || apk.current.size > 1 ->
                if (known == apk.current.toSet()) null else "the set of signers differs from the installed app's"
            known.single() in apk.current || known.single() in apk.lineage -> null
            else -> "the installed app is signed by ${short(known)}, this one by ${short(apk.current)}"
        }
    }

    private fun short(digests: Collection<String>): String = digests.joinToString(",") { it.take(12) }
}
