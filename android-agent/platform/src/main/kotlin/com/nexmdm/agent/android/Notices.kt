package com.nexmdm.agent.android

import android.content.Intent
import com.nexmdm.agent.engine.State

/** What a person at the device gets to see without opening the app. */
public interface Notices {
    /** Whether a question would be seen. */
    public fun canAsk(): Boolean

    /** Shows the platform's [question] about [session]; false if it cannot be shown. */
    public fun ask(session: Int, question: Intent): Boolean

    /** After every change, on any thread. */
    public fun changed(state: State)
}
