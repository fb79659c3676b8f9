package com.google.firebase.messaging;

import android.app.Service;
import android.content.Intent;
import android.os.IBinder;

/** The signatures that the agent compiles against; never packaged. The class of this name is Google's. */
public class FirebaseMessagingService extends Service {
    public void onMessageReceived(RemoteMessage message) {}

    public void onNewToken(String token) {}

    @Override
    public final IBinder onBind(Intent intent) {
        return null;
    }
}
