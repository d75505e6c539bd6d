"""Django's settings, made from the one table in `config`; nothing here is configured a second time."""

from __future__ import annotations

from pathlib import Path

from django.utils.functional import lazy
from django.utils.module_loading import import_string

from opssentinal import config as configuration
from opssentinal.workspace.public_host import PublicHost

CONFIG = configuration.load()
_HERE = Path(__file__).parent
_SECURE = CONFIG.configured_url.startswith("https://")

SECRET_KEY = configuration.secret_key(CONFIG)
DEBUG = False
ALLOWED_HOSTS = [*CONFIG.allowed_host_names, PublicHost()]
CSRF_TRUSTED_ORIGINS = [CONFIG.configured_url] if CONFIG.configured_url else []
ROOT_URLCONF = "opssentinal.urls"
WSGI_APPLICATION = "opssentinal.front.pages"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"
TEST_RUNNER = "django.test.runner.DiscoverRunner"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "opssentinal.workspace",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "ninja",
    "opssentinal.ledger",
    "opssentinal.apikeys",
    "opssentinal.approvals",
    "opssentinal.api",
    "opssentinal.exports",
    "opssentinal.incidents",
    "opssentinal.retention",
    "opssentinal.sso",
    "opssentinal.users",
    "opssentinal.integrations",
    "opssentinal.web",
    "opssentinal.commands",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "opssentinal.web.middleware.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "opssentinal.workspace.middleware.OriginCheck",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "opssentinal.web.middleware.WayOn",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "opssentinal.workspace.middleware.FirstVisit",
    "opssentinal.workspace.middleware.SecondFactorFirst",
    "opssentinal.workspace.middleware.SessionActivity",
    "opssentinal.workspace.middleware.TimeZone",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_HERE / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "opssentinal.web.context_processors.shell",
            ],
        },
    },
]

if CONFIG.database_url:
    from opssentinal.ledger.postgresql import database_settings

    DATABASES = {"default": database_settings(CONFIG.database_url)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "opssentinal.ledger.sqlite",
            "NAME": CONFIG.data_dir / "opssentinal.sqlite3",
            "CONN_MAX_AGE": None,
            "TEST": {"NAME": CONFIG.data_dir / "test.sqlite3"},
        },
    }

# Rate limits live here: large enough that a flood of invented addresses cannot push the counters out.
CACHES = {
    "default": {
        "BACKEND": "opssentinal.workspace.cache.SteadyCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [_HERE / "web" / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

AUTH_USER_MODEL = "workspace.User"
AUTHENTICATION_BACKENDS = ["opssentinal.workspace.adapters.PasswordBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "opssentinal.workspace.passwords.MinimumLength"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
ACCOUNT_ADAPTER = "opssentinal.workspace.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_BY_CODE_ENABLED = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {
    "login": "opssentinal.workspace.forms.SignInForm",
    "change_password": "opssentinal.workspace.forms.NewPasswordForm",
    "reset_password": "opssentinal.workspace.forgotten_views.ForgottenPasswordForm",
    "reauthenticate": "opssentinal.workspace.forms.PasswordAgainForm",
    "reset_password_from_key": "opssentinal.workspace.forms.LinkPasswordForm",
}
EMAIL_BACKEND = "opssentinal.workspace.mail.MailServer"
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    # The lock-out of the preferences, as it is at each attempt.
    "login_failed": lazy(lambda: import_string("opssentinal.workspace.lockout.failure_limits")(), str)(),
    "change_password": "5/m/user",
    "reset_password": "20/m/ip,5/h/key",
}
MFA_ADAPTER = "opssentinal.workspace.factor_adapter.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_TOLERANCE = 1
MFA_RATE_LIMITS = {"webauthn_login": "30/m/ip"}
MFA_FORMS = {
    "authenticate": "opssentinal.workspace.factor_forms.CodeForm",
    "reauthenticate": "opssentinal.workspace.factor_forms.CodeAgainForm",
    "authenticate_webauthn": "opssentinal.workspace.factor_forms.KeyForm",
    "reauthenticate_webauthn": "opssentinal.workspace.factor_forms.KeyAgainForm",
    "login_webauthn": "opssentinal.workspace.factor_forms.PasskeySignInForm",
    "activate_totp": "opssentinal.workspace.factor_forms.NewAuthenticatorAppForm",
    "add_webauthn": "opssentinal.workspace.factor_forms.NewPasskeyForm",
    "edit_webauthn": "opssentinal.workspace.factor_forms.PasskeyNameForm",
}

# Single sign-on. Failed answers of a provider have a limit of their own: each is recorded.
SOCIALACCOUNT_ADAPTER = "opssentinal.sso.adapters.SocialAccountAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_AUTO_SIGNUP = False
ACCOUNT_RATE_LIMITS |= {"sso_failed": "20/m/ip"}

ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "opssentinal.workspace.links.LinkTokens"
PASSWORD_RESET_TIMEOUT = CONFIG.password_link_hours * 3600

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if _SECURE:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "opssentinal.server_log.Lines",
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
        }
    },
    "filters": {"links": {"()": "opssentinal.workspace.log_filter.LinksHidden"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["links"]}},
    "root": {"handlers": ["stderr"], "level": CONFIG.log_level.upper()},
    "loggers": {
        # Its start-up lines say what `serve` says in fewer words.
        "uvicorn.error": {"level": "WARNING"},
        # What a client did wrong is answered to the client, and a denial stands in the audit log; tracebacks are for faults
        # of ours.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "CRITICAL"},
    },
}
