package com.nexmdm.agent.sim

import com.nexmdm.agent.engine.DevicePort
import com.nexmdm.agent.engine.PackagePort
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.InstallRight
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.Network
import com.nexmdm.agent.model.RestartIntent
import com.nexmdm.agent.store.DiskFile
import kotlinx.serialization.builtins.ListSerializer
import kotlinx.serialization.json.Json
import java.nio.file.Path
import java.time.ZoneId

/** A device of files: its packages in one, each session in another. */
internal class SimDevice(
    folder: Path,
    options: Options,
    private val faults: Faults,
    installLater: (Int) -> Unit,
) : DevicePort {
    val packages = SimPackages(DiskFile(folder.resolve("packages.json")), options, FaultKind.SIGNER in faults)
    val sessions = SimSessions(folder, packages, faults, installLater)

    override fun snapshot(): DeviceSnapshot =
        DeviceSnapshot(
            network = if (FaultKind.NO_WIFI in faults) Network.CELLULAR else Network.WIFI,
            metered = FaultKind.METERED in faults,
            battery = if (FaultKind.LOW_BATTERY in faults) 7 else 88,
            charging = FaultKind.LOW_BATTERY !in faults,
            freeStorageMb = 4_000,
            dozeExempt = true,
            inCall = FaultKind.IN_CALL in faults || callCame(),
            inUse = FaultKind.IN_USE in faults,
            deviceOwner = right() == InstallRight.SILENT,
            zone = ZoneId.systemDefault().id,
            installRight = right(),
        )

    private fun callCame(): Boolean = FaultKind.CALL_COMES in faults && sessions.mine().isNotEmpty()

    private fun right(): InstallRight =
        when {
            FaultKind.NOT_PERMITTED in faults -> InstallRight.NONE
            FaultKind.DECLINES in faults -> InstallRight.PROMPT
            else -> InstallRight.SILENT
        }

    override fun prompt(session: Int): Boolean = sessions.ask(session)

    override fun launch(packageName: String, intent: RestartIntent): Boolean =
        packages.installed(packageName) != null && FaultKind.NO_RESTART !in faults
}

/** With a [foreignSigner] the inventory keeps quiet about it, so that the agent's own check is what finds it. */
internal class SimPackages(
    private val file: DiskFile,
    options: Options,
    private val foreignSigner: Boolean,
) : PackagePort {
    private val all: MutableMap<String, InstalledPackage> = load()

    init {
        if (all.isEmpty()) {
            val signers = if (foreignSigner) setOf("f".repeat(64)) else emptySet()
            put(InstalledPackage(options.packageName, options.code, "1.0.${options.code}", signers, updatedAt = 1))
        }
    }

    @Synchronized
    override fun installed(packageName: String): InstalledPackage? = all[packageName]

    @Synchronized
    override fun inventory(): List<InstalledPackage> =
        all.values.map { if (foreignSigner) it.copy(signers = emptySet()) else it }

    @Synchronized
    override fun uninstall(packageName: String) {
        all.remove(packageName)
        save()
    }

    @Synchronized
    fun put(installed: InstalledPackage) {
        all[installed.packageName] = installed
        save()
    }

    private fun save() = file.replace(Json.encodeToString(SERIALIZER, all.values.toList()).toByteArray())

    private fun load(): MutableMap<String, InstalledPackage> {
        val bytes = file.read()
        if (bytes.isEmpty()) return mutableMapOf()
        return Json.decodeFromString(SERIALIZER, String(bytes)).associateByTo(mutableMapOf()) { it.packageName }
    }

    private companion object {
        val SERIALIZER = ListSerializer(InstalledPackage.serializer())
    }
}
