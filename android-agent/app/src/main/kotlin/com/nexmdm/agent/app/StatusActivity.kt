package com.nexmdm.agent.app

import android.Manifest
import android.annotation.SuppressLint
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.os.PowerManager
import android.provider.Settings
import android.view.View
import android.widget.EditText
import android.widget.ProgressBar
import android.widget.TextView
import android.widget.Toast
import com.nexmdm.R
import com.nexmdm.agent.android.AgentHost
import com.nexmdm.agent.android.Standing
import com.nexmdm.agent.android.percent
import com.nexmdm.agent.store.Provision

/**
 * How this device stands, for the person who holds it. Whoever starts it may suggest a server and a token; only a
 * person's press takes them, and only while no server has the device.
 */
public class StatusActivity : Activity() {
    private val host by lazy { AgentHost.of(this) }
    private val words by lazy { Words(this) }
    private val clock = Handler(Looper.getMainLooper())
    private val refresh =
        object : Runnable {
            override fun run() {
                show()
                clock.postDelayed(this, REFRESH_MS)
            }
        }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.status)
        suggest(intent)
        findViewById<View>(R.id.enrol).setOnClickListener { enrol() }
        findViewById<View>(R.id.confirm).setOnClickListener { host.question()?.let(::startIfThere) }
        findViewById<View>(R.id.background).setOnClickListener { askForBackground() }
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) askForNotifications()
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        suggest(intent)
    }

    override fun onResume() {
        super.onResume()
        host.wake()
        refresh.run()
    }

    override fun onPause() {
        super.onPause()
        clock.removeCallbacks(refresh)
    }

    private fun suggest(intent: Intent) {
        intent.getStringExtra(Provision.SERVER)?.let(findViewById<EditText>(R.id.server)::setText)
        intent.getStringExtra(Provision.TOKEN)?.let(findViewById<EditText>(R.id.token)::setText)
    }

    private fun enrol() {
        val provision = Provision.of(text(R.id.server), text(R.id.token))
        val isTaken = provision != null && host.provisioned(provision)
        if (!isTaken) findViewById<EditText>(R.id.token).error = getString(R.string.error_provision)
        show()
    }

    private fun show() {
        val agent = host.current
        val standing = Standing.of(agent)
        setText(R.id.standing, words.headline(standing, agent?.state))
        setText(R.id.hint, words.hint(standing, agent?.refused?.why))
        setText(R.id.facts, facts())
        show(R.id.progress, standing == Standing.DOWNLOADING || standing == Standing.INSTALLING)
        val percent = agent?.state?.percent
        findViewById<ProgressBar>(R.id.progress).apply {
            isIndeterminate = percent == null
            progress = percent ?: 0
            contentDescription = percent?.let { getString(R.string.percent, it) }
        }
        show(R.id.confirm, standing == Standing.NEEDS_PERSON && host.question() != null)
        show(R.id.set_up, standing.canBeSetUp)
        bindServer(host.provision?.server.takeIf { agent?.isEnrolled == true })
        show(R.id.background, !isLeftAlone())
    }

    /** A device that was turned away goes back to its own server or, reset, to another. */
    private fun bindServer(own: String?) {
        val field = findViewById<EditText>(R.id.server)
        field.isEnabled = own == null
        if (own != null && field.text.toString() != own) field.setText(own)
    }

    private fun facts(): String {
        val agent = host.current
        val version = packageManager.getPackageInfo(packageName, 0).versionName
        val facts =
            listOf(
                R.string.fact_server to host.provision?.server,
                R.string.fact_device to agent?.deviceId,
                R.string.fact_version to version,
                R.string.fact_managed to getString(if (host.isOwner) R.string.yes else R.string.no),
                R.string.fact_last to words.last(agent?.state),
            )
        return facts.filter { it.second != null }.joinToString("\n") { (name, value) -> "${getString(name)}: $value" }
    }

    private fun isLeftAlone(): Boolean =
        getSystemService(PowerManager::class.java).isIgnoringBatteryOptimizations(packageName)

    @SuppressLint("BatteryLife") // A device that sleeps through its heartbeats counts as offline.
    private fun askForBackground() {
        val about = Uri.fromParts("package", packageName, null)
        startIfThere(Intent(Settings.ACTION_REQUEST_IGNORE_BATTERY_OPTIMIZATIONS, about))
    }

    /** Kiosks have parts of the system taken away. */
    private fun startIfThere(screen: Intent) {
        try {
            startActivity(screen)
        } catch (_: ActivityNotFoundException) {
            Toast.makeText(this, R.string.error_no_screen, Toast.LENGTH_LONG).show()
        }
    }

    private fun askForNotifications(): Unit =
        requestPermissions(arrayOf(Manifest.permission.POST_NOTIFICATIONS), 0)

    private fun text(id: Int): String = findViewById<EditText>(id).text.toString()

    private fun setText(id: Int, text: String) {
        val view = findViewById<TextView>(id)
        if (view.text.toString() != text) view.text = text
    }

    private fun show(id: Int, shown: Boolean) {
        findViewById<View>(id).visibility = if (shown) View.VISIBLE else View.GONE
    }

    private companion object {
        const val REFRESH_MS = 1_000L
    }
}
