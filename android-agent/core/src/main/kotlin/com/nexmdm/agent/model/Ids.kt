package com.nexmdm.agent.model

import kotlinx.serialization.KSerializer
import kotlinx.serialization.Serializable
import kotlinx.serialization.SerializationException
import kotlinx.serialization.descriptors.PrimitiveKind
import kotlinx.serialization.descriptors.PrimitiveSerialDescriptor
import kotlinx.serialization.descriptors.SerialDescriptor
import kotlinx.serialization.encoding.Decoder
import kotlinx.serialization.encoding.Encoder
import kotlinx.serialization.json.JsonDecoder
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonPrimitive

/** An id as the server wrote it, number or text; it goes back into the URL unchanged. */
@Serializable(with = IdSerializer::class)
public data class Id(public val text: String) {
    init {
        require(text.isNotBlank() && text.length <= MAX_LENGTH) { "an id has 1 to $MAX_LENGTH characters" }
    }

    override fun toString(): String = text

    private companion object {
        const val MAX_LENGTH = 100
    }
}

internal object IdSerializer : KSerializer<Id> {
    override val descriptor: SerialDescriptor = PrimitiveSerialDescriptor("Id", PrimitiveKind.STRING)

    override fun deserialize(decoder: Decoder): Id {
        val element = (decoder as? JsonDecoder)?.decodeJsonElement()
        if (element is JsonPrimitive && element !is JsonNull) return Id(element.content)
        throw SerializationException("an id is a number or a text")
    }

    override fun serialize(encoder: Encoder, value: Id): Unit = encoder.encodeString(value.text)
}

/** What one report, one question and one job are about. */
@Serializable
public data class JobKey(
    public val deployment: Id,
    public val attempt: Int,
)
