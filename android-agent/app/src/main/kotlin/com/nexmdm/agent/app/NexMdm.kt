package com.nexmdm.agent.app

import android.content.Context
import com.nexmdm.agent.android.AgentApplication
import com.nexmdm.agent.android.Notices

public class NexMdm : AgentApplication() {
    override fun notices(context: Context): Notices = Notifications(context)
}
