package com.google.firebase.messaging;

import java.util.Collections;
import java.util.Map;

/** As {@link FirebaseMessagingService}: a signature, nothing more. */
public final class RemoteMessage {
    private RemoteMessage() {}

    public Map<String, String> getData() {
        return Collections.emptyMap();
    }
}
