package com.nexmdm.agent.android

import android.content.Context
import android.content.pm.PackageInstaller
import com.nexmdm.agent.engine.PortFailure
import com.nexmdm.agent.model.FailureCode
import com.nexmdm.agent.policy.PlatformStatus
import java.util.concurrent.ArrayBlockingQueue
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.TimeUnit

/** Takes a package off and waits for the platform's word. Never called on the main thread, which brings the word. */
internal class Uninstaller(private val context: Context) {
    /** @throws PortFailure if the platform did not say that it was done. */
    fun uninstall(packageName: String) {
        val answer = ArrayBlockingQueue<PlatformStatus>(1)
        waiting[packageName] = answer
        try {
            ask(packageName)
            val said = answer.poll(PATIENCE_SEC, TimeUnit.SECONDS)
            if (said?.status != PackageInstaller.STATUS_SUCCESS) throw refused(said)
        } finally {
            waiting.remove(packageName)
        }
    }

    private fun ask(packageName: String): Unit =
        try {
            val sender = InstallResults.senderOfRemoval(context, packageName)
            context.packageManager.packageInstaller.uninstall(packageName, sender)
        } catch (e: SecurityException) {
            throw PortFailure(FailureCode.NOT_PERMITTED, e.message.orEmpty(), e)
        }

    private fun refused(said: PlatformStatus?): PortFailure =
        when (said?.status) {
            null -> PortFailure(FailureCode.INSTALL_TIMEOUT, "no result of the uninstall")
            PackageInstaller.STATUS_PENDING_USER_ACTION ->
                PortFailure(FailureCode.NOT_PERMITTED, "the uninstall needs a person")
            else -> PortFailure(FailureCode.INSTALL_BLOCKED, said.message ?: "uninstall status ${said.status}")
        }

    internal companion object {
        private const val PATIENCE_SEC = 120L
        private val waiting = ConcurrentHashMap<String, ArrayBlockingQueue<PlatformStatus>>()

        fun ended(packageName: String, status: PlatformStatus) {
            waiting[packageName]?.offer(status)
        }
    }
}
