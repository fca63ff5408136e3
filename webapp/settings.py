"""Django's settings. What differs between installations comes from `webapp.base.environment`."""

from __future__ import annotations

from webapp.base import environment, logs

ENVIRONMENT = environment.refuse_unsafe(environment.read())
BASE_DIR = environment.ROOT

SECRET_KEY = ENVIRONMENT.secret_key
DEBUG = ENVIRONMENT.debug
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
REDIS_URL = ENVIRONMENT.redis_url
STILLROOM_STATE = ENVIRONMENT.state
STILLROOM_FILE_ROOTS = ENVIRONMENT.file_roots
STILLROOM_MAX_RESTARTS = ENVIRONMENT.max_restarts
STILLROOM_LEASE_SECONDS = ENVIRONMENT.lease_seconds
STILLROOM_ENDPOINTS = ENVIRONMENT.endpoints
STILLROOM_SECRET_TEAMS = ENVIRONMENT.secret_teams
STILLROOM_LOG_RATE = ENVIRONMENT.log_rate
STILLROOM_FILE_BYTES = ENVIRONMENT.file_bytes
STILLROOM_RUN_FILES_BYTES = ENVIRONMENT.run_files_bytes
STILLROOM_CONNECTIONS = ENVIRONMENT.connections
STILLROOM_PREFLIGHT_SECONDS = ENVIRONMENT.preflight_seconds
STILLROOM_PREFLIGHT_WAIT = ENVIRONMENT.preflight_wait
STILLROOM_TRUSTED_PROXIES = ENVIRONMENT.trusted_proxies
STILLROOM_PROXY_HOPS = ENVIRONMENT.proxy_hops
STILLROOM_METRICS_TOKEN = ENVIRONMENT.metrics_token
STILLROOM_METRICS_ADDRESSES = ENVIRONMENT.metrics_addresses

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "webapp.access",
    "webapp.library",
    "webapp.runs",
    "webapp.nodes",
    "webapp.jobs",
    "webapp.preflights",
    "webapp.experiments",
    "webapp.series",
    "webapp.ingest",
    "webapp.live",
    "webapp.comparisons",
    "webapp.sharing",
    "webapp.clients",
    "webapp.pages",
]

MIDDLEWARE = [
    "webapp.base.requests.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "webapp.base.headers.ContentSecurityPolicy",
    "webapp.base.headers.HostCheck",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "webapp.base.headers.NotShared",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "webapp.access.middleware.SignInRequired",
    "webapp.pages.site.errors.FormsOnly",
]

ROOT_URLCONF = "webapp.urls"
ASGI_APPLICATION = "webapp.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webapp.access.context.actor",
            ],
        },
    },
]

DATABASES = {"default": environment.database(ENVIRONMENT.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "teams.User"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "runs"
LOGOUT_REDIRECT_URL = "sign_in"

SESSION_ENGINE = "webapp.access.sessions"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.https
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "webapp.pages.site.errors.csrf_failure"
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if ENVIRONMENT.https]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENVIRONMENT.https else None
# A year. Browsers heed it on pages that came over TLS only.
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENVIRONMENT.https else 0
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}

# Uploads of any size go to a file, never to memory, on the disk that they are stored on in the end.
STILLROOM_STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
UPLOADS = ENVIRONMENT.artifacts / ".uploads"
UPLOADS.mkdir(mode=0o700, parents=True, exist_ok=True)
FILE_UPLOAD_TEMP_DIR = str(UPLOADS)
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
MAX_UPLOAD_BYTES = ENVIRONMENT.max_upload_bytes
RAW_DAYS = ENVIRONMENT.raw_days
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
DATA_UPLOAD_MAX_NUMBER_FILES = 200

STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": STILLROOM_STATE / "files"},
    },
    "artifacts": {
        "BACKEND": "webapp.library.artifacts.AtomicFolder",
        "OPTIONS": {"location": ENVIRONMENT.artifacts},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "/static/"
NODE_MODULES = BASE_DIR / "node_modules"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    ("docs/images", BASE_DIR / "docs" / "images"),
    ("docs/results", BASE_DIR / "docs" / "results"),
    ("vendor/uplot", NODE_MODULES / "uplot" / "dist"),
    ("vendor/htmx", NODE_MODULES / "htmx.org" / "dist"),
]
# Static files are served from their source folders, so that no collectstatic is needed.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ROOT = BASE_DIR / "static" / "root"

LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = logs.configuration(ENVIRONMENT.logs)
