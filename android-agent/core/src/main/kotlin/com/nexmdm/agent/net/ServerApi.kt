package com.nexmdm.agent.net

import com.nexmdm.agent.engine.Clock
import com.nexmdm.agent.model.DeviceIdentity
import com.nexmdm.agent.model.DeviceSnapshot
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.InstalledPackage
import com.nexmdm.agent.model.JobKey
import com.nexmdm.agent.model.Report
import com.nexmdm.agent.proto.Beat
import com.nexmdm.agent.proto.CommandParser
import com.nexmdm.agent.proto.ConfirmExtras
import com.nexmdm.agent.proto.Confirmation
import com.nexmdm.agent.proto.Delivery
import com.nexmdm.agent.proto.EnrollAnswer
import com.nexmdm.agent.proto.EnrollBody
import com.nexmdm.agent.proto.Enrolment
import com.nexmdm.agent.proto.GoneBody
import com.nexmdm.agent.proto.HeartbeatAnswer
import com.nexmdm.agent.proto.HeartbeatBody
import com.nexmdm.agent.proto.Incoming
import com.nexmdm.agent.proto.Problem
import com.nexmdm.agent.proto.StatusAnswer
import com.nexmdm.agent.proto.StatusBody
import com.nexmdm.agent.proto.TokenAnswer
import com.nexmdm.agent.proto.heartbeatBody
import com.nexmdm.agent.proto.toBodies
import com.nexmdm.agent.proto.toBody
import com.nexmdm.agent.proto.wireJson
import kotlinx.serialization.KSerializer
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.net.URLEncoder

/** Who this agent is to the server. [tokens] in the order in which they should be tried. */
public interface DeviceAccount {
    public val deviceId: Id?
    public val tokens: List<String>

    /** The server took [token]: older ones are void now. */
    public fun accepted(token: String)
}

/** The agent's side of /v1/agent. No call throws; every answer is bounded in size and time. */
public class ServerApi(
    private val server: String,
    private val transport: HttpTransport,
    private val account: DeviceAccount,
    private val clock: Clock,
) {
    private class Answer(val status: Int, val text: String, val retryAfterMs: Long?)

    public fun confirm(key: JobKey): Confirmation {
        val device = account.deviceId ?: return Confirmation.Unreachable()
        val answer =
            asDevice("GET", "${path(key, device)}?attempt=${key.attempt}", null) ?: return Confirmation.Unreachable()
        return when (answer.status) {
            200 -> standing(key, device, answer.text)
            410 -> gone(answer.text)
            403, 404 -> if (problem(answer) != null) Confirmation.Refused(answer.status) else Confirmation.Unreachable()
            else -> Confirmation.Unreachable(answer.retryAfterMs)
        }
    }

    public fun report(report: Report): Delivery {
        val device = account.deviceId ?: return Delivery.Unreachable()
        val body = encode(StatusBody.serializer(), report.toBody())
        val answer = asDevice("POST", "${path(report.key, device)}/status", body) ?: return Delivery.Unreachable()
        return when (answer.status) {
            200 -> taken(answer.text)
            409 -> Delivery.Taken(stop = true)
            401, 408, 425, 429 -> Delivery.Unreachable(answer.retryAfterMs)
            in 400..499 -> if (problem(answer) != null) Delivery.Refused(answer.status) else Delivery.Unreachable()
            else -> Delivery.Unreachable(answer.retryAfterMs)
        }
    }

    /** [packages] null = unchanged since the server last heard of them. */
    public fun heartbeat(
        device: DeviceIdentity,
        now: DeviceSnapshot,
        fcmToken: String?,
        packages: List<InstalledPackage>?,
    ): Beat {
        val id = account.deviceId ?: return Beat.Unreachable()
        val body = encode(HeartbeatBody.serializer(), heartbeatBody(device, now, fcmToken, packages))
        val answer = asDevice("POST", "/v1/agent/devices/${escaped(id)}/heartbeat", body) ?: return Beat.Unreachable()
        return when (answer.status) {
            200 -> beat(answer.text)
            401 -> Beat.TurnedAway
            403 -> if (problem(answer) != null) Beat.TurnedAway else Beat.Unreachable()
            else -> Beat.Unreachable(answer.retryAfterMs)
        }
    }

    public fun enroll(
        device: DeviceIdentity,
        enrollmentToken: String,
        fcmToken: String?,
        packages: List<InstalledPackage>,
    ): Enrolment {
        val body =
            EnrollBody(
                enrollmentToken = enrollmentToken,
                serial = device.serial,
                model = device.model,
                manufacturer = device.manufacturer,
                sdkInt = device.sdkInt,
                abis = device.abis,
                agentVersion = device.agentVersion,
                alias = device.alias,
                fcmToken = fcmToken,
                packages = packages.toBodies(device.agentPackage),
            )
        val bytes = encode(EnrollBody.serializer(), body)
        val answer = exchange("POST", "/v1/agent/enroll", bytes, account.tokens.firstOrNull())
        return enrolled(answer ?: return Enrolment.Unreachable())
    }

    /** The new token, or null if there was none to be had now. */
    public fun newToken(): String? {
        val id = account.deviceId ?: return null
        val answer = asDevice("POST", "/v1/agent/devices/${escaped(id)}/token", ByteArray(0)) ?: return null
        if (answer.status !in 200..201) return null
        return decode(TokenAnswer.serializer(), answer.text)?.let { it.deviceToken ?: it.token }
    }

    private fun enrolled(answer: Answer): Enrolment {
        if (answer.status in 200..201) {
            val done = decode(EnrollAnswer.serializer(), answer.text) ?: return Enrolment.Unreachable()
            return Enrolment.Done(done.deviceId, done.deviceToken)
        }
        val isVerdict = answer.status in 400..499 && answer.status !in setOf(408, 425, 429)
        val problem = if (isVerdict) problem(answer) else null
        if (problem == null) return Enrolment.Unreachable(answer.retryAfterMs)
        return Enrolment.Refused(answer.status, problem.detail ?: problem.title ?: problem.type.orEmpty())
    }

    private fun standing(key: JobKey, device: Id, text: String): Confirmation =
        when (val read = CommandParser.fromJson(text)) {
            is Incoming.Command -> {
                if (read.command.key == key && read.command.deviceId == device) {
                    val extras = decode(ConfirmExtras.serializer(), text)
                    Confirmation.Stands(read.command, extras?.serverTime, extras?.windowOpen)
                } else {
                    Confirmation.NotUnderstood("the server answered about another attempt or device")
                }
            }
            // Half an answer, or somebody else's page: only what names the attempt is the server's word on it.
            is Incoming.Rejected -> read.key?.let { Confirmation.NotUnderstood(read.why) } ?: Confirmation.Unreachable()
            is Incoming.Hint -> Confirmation.NotUnderstood("no command")
        }

    private fun gone(text: String): Confirmation {
        val said = decode(GoneBody.serializer(), text)
        return (said?.reason ?: said?.status)?.let(Confirmation::Gone) ?: Confirmation.Unreachable()
    }

    /** A report leaves the outbox only for an answer that is the server's. */
    private fun taken(text: String): Delivery {
        val said = decode(StatusAnswer.serializer(), text) ?: return Delivery.Unreachable()
        return Delivery.Taken(said.cancel || said.final)
    }

    private fun beat(text: String): Beat {
        val answer = decode(HeartbeatAnswer.serializer(), text) ?: return Beat.Unreachable()
        return Beat.Answered(
            answer.serverTime,
            answer.checkinIntervalSec,
            answer.commands.map(CommandParser::fromElement),
        )
    }

    /** The server's own refusal; null for the page of whatever stands before it. */
    private fun problem(answer: Answer): Problem? =
        decode(Problem.serializer(), answer.text)?.takeIf { it.type != null || it.title != null || it.detail != null }

    private fun path(key: JobKey, device: Id): String =
        "/v1/agent/deployments/${escaped(key.deployment)}/devices/${escaped(device)}"

    private fun escaped(id: Id): String = URLEncoder.encode(id.text, "UTF-8").replace("+", "%20")

    /** With each known token until one is accepted; null if no answer came. */
    private fun asDevice(method: String, path: String, body: ByteArray?): Answer? {
        var last: Answer? = null
        for (token in account.tokens) {
            val answer = exchange(method, path, body, token) ?: return null
            if (answer.status != 401) {
                account.accepted(token)
                return answer
            }
            last = answer
        }
        return last
    }

    private fun exchange(method: String, path: String, body: ByteArray?, token: String?): Answer? {
        val headers = mutableMapOf("Accept" to "application/json")
        if (body != null) headers["Content-Type"] = "application/json"
        if (token != null) headers["Authorization"] = "Bearer $token"
        return try {
            val url = Addresses.checked(server, server.trimEnd('/') + path)
            transport.open(HttpRequest(method, url, headers, body)).use {
                Answer(it.status, bounded(it), RetryAfter.of(it))
            }
        } catch (_: IOException) {
            null
        }
    }

    private fun bounded(exchange: HttpExchange): String {
        val out = ByteArrayOutputStream()
        val buffer = ByteArray(8 * 1024)
        val body = exchange.body()
        val until = clock.elapsedMs() + MAX_ANSWER_MS
        while (true) {
            val count = body.read(buffer)
            if (count < 0) return whole(exchange, out)
            if (out.size() + count > MAX_ANSWER) throw IOException("the answer is too long")
            if (clock.elapsedMs() > until) throw IOException("the answer takes too long")
            out.write(buffer, 0, count)
        }
    }

    /** Java's client lets a body that was cut short pass for a whole one. */
    private fun whole(exchange: HttpExchange, body: ByteArrayOutputStream): String {
        val length = exchange.header("Content-Length")?.toLongOrNull()
        if (length != null && length != body.size().toLong()) throw IOException("the answer ended early")
        return body.toString("UTF-8")
    }

    private fun <T> encode(serializer: KSerializer<T>, value: T): ByteArray =
        wireJson.encodeToString(serializer, value).toByteArray()

    private fun <T> decode(serializer: KSerializer<T>, text: String): T? =
        try {
            wireJson.decodeFromString(serializer, text)
        } catch (_: IllegalArgumentException) {
            null
        }

    private companion object {
        const val MAX_ANSWER = 1024 * 1024
        const val MAX_ANSWER_MS = 60_000L
    }
}
