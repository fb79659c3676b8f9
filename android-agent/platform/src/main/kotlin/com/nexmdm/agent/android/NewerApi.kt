package com.nexmdm.agent.android

/** Calls what Android has from API [level] on. Only reached behind a check of the version; the build looks past it. */
@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.CLASS, AnnotationTarget.FUNCTION)
internal annotation class NewerApi(
    val level: Int,
)
