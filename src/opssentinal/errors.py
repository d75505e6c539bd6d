"""Every error the product raises on purpose, and what each becomes on the wire and on the command line.

One tree, so that a boundary (HTTP, CLI, page) maps an error once and never guesses::

    OpsSentinalError            .code (stable, snake_case)  .hint (what to do)
    ├── InvalidInput            InvalidEvent · InvalidQuery · InvalidCursor
    ├── AccessDenied            Unauthenticated · Forbidden
    ├── NotFound
    ├── Conflict
    ├── Overloaded              queue full, rate limit: retry later, never dropped silently
    ├── Unavailable             database, search, sink (permanent: bool)
    ├── ConfigError             refuses to start
    └── IntegrityError          hash, size or signature mismatch: fatal, appending stops, nothing is papered over
"""

from __future__ import annotations


class OpsSentinalError(Exception):
    """Root of the tree. `detail` is one sentence for a person; `hint` says what to do about it.

    `status` is the HTTP status and `exit_code` the exit status of a command that ends with this error.
    """

    code = "internal_error"
    title = "Something went wrong"
    status = 500
    exit_code = 1

    def __init__(self, detail: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}".rstrip()


class InvalidInput(OpsSentinalError):
    """The caller's input cannot be accepted as it is. `path` is a JSON path such as `$.actor.id`, or empty."""

    code = "invalid_input"
    title = "Invalid input"
    status = 400
    exit_code = 2

    def __init__(self, detail: str, *, path: str = "", hint: str = "", code: str | None = None) -> None:
        super().__init__(f"{path}: {detail}" if path else detail, hint=hint, code=code)
        self.path = path


class InvalidEvent(InvalidInput):
    """An event does not have the shape of docs/spec/event.md."""

    code = "invalid_event"
    title = "Invalid event"


class InvalidQuery(InvalidInput):
    """A query text or a filter parameter cannot be understood."""

    code = "invalid_query"
    title = "Invalid query"


class InvalidCursor(InvalidInput):
    """A cursor was altered, belongs to another filter or to another principal."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class TooLarge(InvalidInput):
    """The request, once decompressed, is over its limit."""

    code = "too_large"
    title = "Too large"
    status = 413


class UnsupportedMediaType(InvalidInput):
    """The content type or content encoding is missing or not one of those accepted."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    status = 415


class AccessDenied(OpsSentinalError):
    """The principal may not do this."""

    code = "access_denied"
    title = "Access denied"
    status = 403
    exit_code = 4


class Unauthenticated(AccessDenied):
    """No credentials, or none that are valid now."""

    code = "unauthenticated"
    title = "Not signed in"
    status = 401


class Forbidden(AccessDenied):
    """Valid credentials without the right or the scope."""

    code = "forbidden"
    title = "Forbidden"


class NotFound(OpsSentinalError):
    """There is no such thing, or the principal may not know of it."""

    code = "not_found"
    title = "Not found"
    status = 404
    exit_code = 3


class Conflict(OpsSentinalError):
    """What exists already contradicts the request."""

    code = "conflict"
    title = "Conflict"
    status = 409


class Overloaded(OpsSentinalError):
    """A bounded queue is full or a rate limit is reached: nothing was kept; try again after `retry_after_s` seconds."""

    code = "overloaded"
    title = "Too much at once"
    status = 503
    exit_code = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(self, detail: str, *, retry_after_s: int = 1, hint: str = "", code: str | None = None) -> None:
        super().__init__(detail, hint=hint, code=code)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """This principal has used up its share for now."""

    code = "rate_limited"
    title = "Too many requests"
    status = 429


class Unavailable(OpsSentinalError):
    """Something we depend on does not answer. `permanent` says whether trying again can help."""

    code = "unavailable"
    title = "Temporarily unavailable"
    status = 503
    exit_code = 69  # EX_UNAVAILABLE of sysexits.h

    def __init__(self, detail: str, *, permanent: bool = False, hint: str = "", code: str | None = None) -> None:
        super().__init__(detail, hint=hint, code=code)
        self.permanent = permanent


class ConfigError(OpsSentinalError):
    """The configuration cannot be used; the program refuses to start."""

    code = "config_error"
    title = "Configuration error"
    exit_code = 78  # EX_CONFIG of sysexits.h


class IntegrityError(OpsSentinalError):
    """A hash, size or signature does not match. Fatal: appending stops and an operator looks."""

    code = "integrity_error"
    title = "Integrity error"
    exit_code = 70  # EX_SOFTWARE of sysexits.h
