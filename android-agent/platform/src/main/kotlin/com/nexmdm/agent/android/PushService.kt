package com.nexmdm.agent.android

import com.google.firebase.messaging.FirebaseMessagingService
import com.google.firebase.messaging.RemoteMessage

/** Firebase's door. Compiled against a stub; it is in the APK only if that is built with Google's library. */
public class PushService : FirebaseMessagingService() {
    override fun onMessageReceived(message: RemoteMessage): Unit = AgentHost.of(this).pushed(message.data)

    override fun onNewToken(token: String): Unit = AgentHost.of(this).pushToken(token)
}
