package com.nexmdm.agent.proto

import com.nexmdm.agent.model.DeployCommand
import com.nexmdm.agent.model.Id
import com.nexmdm.agent.model.JobKey
import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

/** What came in, by push or with a heartbeat. */
public sealed interface Incoming {
    public data class Command(public val command: DeployCommand) : Incoming

    /** Something changed about this attempt: the server must be asked. */
    public data class Hint(public val key: JobKey, public val deviceId: Id) : Incoming

    /** Not understood; [key] is there where it could be read, so that the server can be told. */
    public data class Rejected(public val why: String, public val key: JobKey? = null) : Incoming
}

/** Strict about what is there, indifferent to keys it does not know. Never throws. */
public object CommandParser {
    private val nested = setOf("apk", "constraints", "window", "post_install")
    private const val MAX_TEXT = 64 * 1024

    /** An FCM data message: all values are text, the nested ones are JSON; a long command carries only its ids. */
    public fun fromPush(data: Map<String, String>): Incoming {
        if (data.values.sumOf { it.length } > MAX_TEXT) return Incoming.Rejected("too long")
        return guarded {
            val fields = data.mapValues { (name, value) -> if (name in nested) parse(value) else typed(name, value) }
            fromObject(JsonObject(fields), hintAllowed = true)
        }
    }

    /** One entry of a heartbeat's `commands`, or the answer to a confirmation. */
    public fun fromJson(text: String): Incoming = guarded { fromElement(parse(text)) }

    public fun fromElement(element: JsonElement): Incoming =
        guarded {
            if (element is JsonObject) fromObject(element, hintAllowed = false) else Incoming.Rejected("not an object")
        }

    private fun fromObject(fields: JsonObject, hintAllowed: Boolean): Incoming {
        val ids = idsOf(fields)
        if (hintAllowed && ("apk" !in fields || actionOf(fields) != DeployCommand.ACTION)) {
            return ids ?: Incoming.Rejected("no ids")
        }
        return try {
            Incoming.Command(wireJson.decodeFromJsonElement(DeployCommand.serializer(), withoutNulls(fields)))
        } catch (e: IllegalArgumentException) {
            Incoming.Rejected(reason(e), ids?.key)
        }
    }

    private fun actionOf(fields: JsonObject): String? = (fields["action"] as? JsonPrimitive)?.content

    private fun idsOf(fields: JsonObject): Incoming.Hint? =
        try {
            wireJson.decodeFromJsonElement(Ids.serializer(), fields).toHint()
        } catch (_: IllegalArgumentException) {
            null
        }

    private fun typed(name: String, value: String): JsonElement =
        if (name == "attempt" || name == "schema") JsonPrimitive(value.toIntOrNull()) else JsonPrimitive(value)

    private fun parse(text: String): JsonElement =
        if (text.length > MAX_TEXT) throw SerializationException("too long") else wireJson.parseToJsonElement(text)

    /** An explicit null means the default, exactly like an absent key. */
    private fun withoutNulls(element: JsonElement): JsonElement =
        when (element) {
            is JsonObject -> JsonObject(element.filterValues { it !is JsonNull }.mapValues { withoutNulls(it.value) })
            is JsonArray -> JsonArray(element.map(::withoutNulls))
            else -> element
        }

    /** Our own words, where there are any, rather than those of the decoder around them. */
    private fun reason(e: IllegalArgumentException): String =
        (e.cause?.message ?: e.message).orEmpty().lineSequence().first().take(200)

    private inline fun guarded(parse: () -> Incoming): Incoming =
        try {
            parse()
        } catch (e: SerializationException) {
            Incoming.Rejected(reason(e))
        }
}
