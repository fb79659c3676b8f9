"""The one place that reads the environment; `.env.example` documents every name."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from csp.constants import NONE, SELF

from mdm.embedded_postgres import DATABASE, USER, socket_folder
from mdm.environment import (
    DATABASE_EXAMPLE,
    EMAIL_EXAMPLE,
    MOST,
    checked_database_url,
    checked_download_url,
    checked_env_file,
    checked_fcm_endpoint,
    checked_public_url,
    checked_sha256,
    checked_webhook,
    decimal_number,
    in_url,
    networks,
    one_of,
    read_url,
    refuse,
    whole_number,
    yes_or_no,
    zero_or,
)
from mdm.secret_key import stored_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
if named := os.environ.get("ENV_FILE", ""):
    environ.Env.read_env(checked_env_file(BASE_DIR / named))
elif "ENV_FILE" not in os.environ:
    environ.Env.read_env(BASE_DIR / ".env")
env = environ.Env()
env.ENVIRON = {name: value for name, value in os.environ.items() if value}  # empty means the default


def number(name: str, default: int, least: int = 0, most: int = MOST) -> int:
    return whole_number(name, env.str(name, str(default)), least, most)


def decimal(name: str, default: str) -> float:
    return decimal_number(name, env.str(name, default))


# --- Where it listens, where it keeps things -------------------------------------------------------------
HOST = env.str("HOST", "127.0.0.1")
PORT = number("PORT", 8000, least=1, most=65_535)
DATA_DIR = (BASE_DIR / env.str("DATA_DIR", "var")).resolve()
DATABASE_URL = env.str("DATABASE_URL", "")
EMBEDDED = not DATABASE_URL
POSTGRES_BIN = env.str("POSTGRES_BIN", "")
DEBUG = False

PUBLIC_URL = env.str("PUBLIC_URL", "")
if not EMBEDDED and not PUBLIC_URL:
    refuse("PUBLIC_URL is required when DATABASE_URL is set.")
PUBLIC_URL = checked_public_url(PUBLIC_URL or f"http://{in_url(HOST)}:{PORT}", production=not EMBEDDED)
PUBLIC_HOST = urlsplit(PUBLIC_URL).hostname or ""
SECURE = PUBLIC_URL.startswith("https://")

SECRET_KEY = env.str("SECRET_KEY", "")
if not EMBEDDED and not SECRET_KEY:
    refuse("SECRET_KEY is required when DATABASE_URL is set.")
SECRET_KEY = SECRET_KEY or stored_secret_key(DATA_DIR)

# --- What is started -------------------------------------------------------------------------------------
DEMO = yes_or_no("DEMO", env.str("DEMO", "1" if EMBEDDED else "0"))
FLEET = number("FLEET", 25 if DEMO else 0)
CORE_AGENTS = number("CORE_AGENTS", 3 if DEMO else 0)
ADMIN_PASSWORD = env.str("ADMIN_PASSWORD", "")
WORKERS = number("WORKERS", 2, least=1)
# Which installation this is, on every page: whoever has two open must not press in the wrong one.
SITE_LABEL = env.str("SITE_LABEL", "") or ("Demo" if DEMO else "")

# --- What the product does -------------------------------------------------------------------------------
TRUSTED_PROXIES = networks("TRUSTED_PROXIES", env.list("TRUSTED_PROXIES", default=[]))
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
PUSH_TRANSPORT = one_of("PUSH_TRANSPORT", env.str("PUSH_TRANSPORT", "checkin"), ("checkin", "fcm"))
FCM_ENDPOINT = checked_fcm_endpoint(env.str("FCM_ENDPOINT", ""))
GOOGLE_APPLICATION_CREDENTIALS = env.str("GOOGLE_APPLICATION_CREDENTIALS", "")
CHECKIN_INTERVAL_SEC = number("CHECKIN_INTERVAL_SEC", 3 if DEMO else 60, least=1)
ONLINE_WITHIN_MIN = decimal("ONLINE_WITHIN_MIN", "15")
# How long is kept what only people may still want to look at; two days at least, for the rules of 24 hours.
KEEP_ATTEMPTS_DAYS = number("KEEP_ATTEMPTS_DAYS", 180, least=2)
KEEP_RETIRED_DAYS = number("KEEP_RETIRED_DAYS", 90, least=2)
# Events of ended deployments, before they are moved into files; 0 = for ever. The database lets nothing younger go.
KEEP_EVENTS_DAYS = zero_or("KEEP_EVENTS_DAYS", number("KEEP_EVENTS_DAYS", 0), least=30)
AUDIT_ARCHIVE_DIR = (BASE_DIR / env.str("AUDIT_ARCHIVE_DIR", str(DATA_DIR / "audit_archive"))).resolve()
# What the QR code of an enrolment token tells Android's setup wizard about our agent.
AGENT_ADMIN_COMPONENT = env.str("AGENT_ADMIN_COMPONENT", "com.nexmdm/com.nexmdm.agent.AdminReceiver")
AGENT_DOWNLOAD_URL = checked_download_url(env.str("AGENT_DOWNLOAD_URL", ""))
AGENT_SIGNER_SHA256 = checked_sha256("AGENT_SIGNER_SHA256", env.str("AGENT_SIGNER_SHA256", ""))
APPROVAL_ABOVE = number("APPROVAL_ABOVE", 0)

# The first seals the audit log, the others check older seals; empty = derived from SECRET_KEY.
AUDIT_KEY = env.list("AUDIT_KEY", default=[])

EMAIL_CONFIG = read_url(
    "EMAIL_URL", EMAIL_EXAMPLE, env.str("EMAIL_URL", "consolemail://"), env.email_url_config
)
EMAIL_BACKEND = EMAIL_CONFIG["EMAIL_BACKEND"]
if EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
    EMAIL_BACKEND = "mdm.watch.mail.BoundedSmtp"
EMAIL_HOST = EMAIL_CONFIG.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = EMAIL_CONFIG.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = EMAIL_CONFIG.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = EMAIL_CONFIG.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = EMAIL_CONFIG.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = EMAIL_CONFIG.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
ALERT_FROM = env.str("ALERT_FROM", f"nexmdm@{PUBLIC_HOST}")
ALERT_WEBHOOK_URL = checked_webhook(env.str("ALERT_WEBHOOK_URL", ""))
ALERT_WEBHOOK_SECRET = env.str("ALERT_WEBHOOK_SECRET", "")
# A webhook may call the public Internet, and these; an instance of one machine may call that machine.
ALERT_WEBHOOK_NETWORKS = networks(
    "ALERT_WEBHOOK_NETWORKS",
    env.list("ALERT_WEBHOOK_NETWORKS", default=["127.0.0.0/8", "::1"] if EMBEDDED else []),
)
ALERT_WEBHOOK_ERRORS_PCT = decimal("ALERT_WEBHOOK_ERRORS_PCT", "5")
ALERT_WEBHOOK_ERRORS_MIN = number("ALERT_WEBHOOK_ERRORS_MIN", 20, least=1)
ALERT_WEBHOOK_ERRORS_WITHIN_MIN = decimal("ALERT_WEBHOOK_ERRORS_WITHIN_MIN", "5")
ALERT_BACKLOG_MIN = decimal("ALERT_BACKLOG_MIN", "10")
ALERT_PAUSED_HOURS = decimal("ALERT_PAUSED_HOURS", "4")
ALERT_NO_PROGRESS_MIN = decimal("ALERT_NO_PROGRESS_MIN", "10")
ALERT_WORKER_SILENT_SEC = decimal("ALERT_WORKER_SILENT_SEC", "30")

# --- Django ----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "mdm",  # first: its `qcluster` command stands in for django-q2's
    "mdm.admin_config.FleetAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "ninja",
    "django_htmx",
    "django_q",
    "apks",
    "devices",
    "deployments",
    "mdm.watch",
    "agent_api",
]
MIDDLEWARE = [
    "mdm.problem_json.ProblemJsonMiddleware",  # outermost: no error under /v1 leaves as HTML
    "mdm.proxies.TrustedProxyMiddleware",  # before anything that asks whether the request was https
    "django.middleware.security.SecurityMiddleware",
    "agent_api.fast_lane.AgentFastLane",  # agents need nothing of what follows
    "mdm.compression.TextCompression",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "mdm.urls"
WSGI_APPLICATION = "mdm.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# --- Database: one connection per thread, kept. A pool breaks processes that fork, as the workers do. ----
if EMBEDDED:
    DATABASE_CONFIG = {"NAME": DATABASE, "USER": USER, "HOST": str(socket_folder(DATA_DIR))}
else:
    DATABASE_CONFIG = read_url(
        "DATABASE_URL", DATABASE_EXAMPLE, checked_database_url(DATABASE_URL), env.db_url_config
    )
    DATABASE_CONFIG["HOST"] = unquote(DATABASE_CONFIG["HOST"] or "")  # a socket's folder, as %2Frun%2F…
DATABASES: dict[str, Any] = {
    "default": {
        **DATABASE_CONFIG,
        "ENGINE": "mdm.postgresql",  # health checks without a round trip
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    },
}
# Reasons of 100,000 devices are counted in memory; compiling such a statement takes longer than running it; and
# storage has no arm to move. With no threshold at all nothing is ever prepared, mdm/prepared.py's statements included.
DATABASES["default"].setdefault("OPTIONS", {}).update(
    options="-c work_mem=16MB -c jit=off -c random_page_cost=1.1", prepare_threshold=1_000_000
)

# --- Background work: our tables do the retrying, so a task is tried once and a failed one is gone -------
Q_CLUSTER = {
    "name": "nexmdm",
    "orm": "default",
    "broker_class": "mdm.broker.NotifyingBroker",
    "workers": 1,  # per cluster; WORKERS clusters run, so that one that falls silent silences no other
    "timeout": 30,
    "retry": 60,  # counted from the claim: must exceed the timeout and the wait in the cluster's own queue
    "queue_limit": 1,
    "bulk": 1,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": -1,
    "recycle": 5000,
    "log_level": "WARNING",
}
TICK_CALLABLE = "deployments.tick.ring_due_deployments"
# Done in threads beside the tick, so that it never waits for them: what, and how often in seconds.
BESIDE_THE_TICK = (
    ("mdm.watch.rounds.keep", 3.0),
    ("deployments.reading.summary.keep_numbers_fresh", 0.1),
)

# --- Files -----------------------------------------------------------------------------------------------
MEDIA_ROOT = DATA_DIR / "artifacts"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # served from where they lie: nothing to collect first
STORAGES = {
    "default": {"BACKEND": "apks.artifact_storage.AtomicFileStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
APK_MAX_MB = number("APK_MAX_MB", 500, least=1)
FILE_UPLOAD_HANDLERS = ["apks.uploads.CappedUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024  # bytes of a request body that is not a file
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 5

# --- Security --------------------------------------------------------------------------------------------
ALLOWED_HOSTS = list(dict.fromkeys([PUBLIC_HOST, HOST, "127.0.0.1", "localhost", "[::1]"]))
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # TrustedProxyMiddleware drops anybody else's
SECURE_SSL_REDIRECT = SECURE
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
if SECURE:  # a browser takes these only from this very host: no neighbour in the domain can plant one
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SESSION_COOKIE_AGE = number("SESSION_HOURS", 12, least=1) * 3600
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "admin:login"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # anybody can cause it
    },
}
