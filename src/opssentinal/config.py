"""The one table of settings: what each is called, what it means, what it may hold, and what it is by default.

Values come from the environment (`OPSSENTINAL_…`, for secrets also `OPSSENTINAL_…_FILE`), else from one TOML file
(`OPSSENTINAL_CONFIG`), else from the default. An unknown name or a bad value refuses to start, with a hint.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opssentinal.errors import ConfigError
from opssentinal.instance import address_of, left_address, made_once, unusable
from opssentinal.networks import network_of

PREFIX = "OPSSENTINAL_"
CONFIG_FILE = "CONFIG"
DEMO_MARK = "demo.json"


@dataclass(frozen=True)
class Setting:
    """One row of the table. `parse` turns the text of the environment into the value, raising ValueError with a reason."""

    name: str
    default: str
    description: str
    parse: Callable[[str], Any]
    secret: bool = False


def _text(text: str) -> str:
    return text


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "1", "yes")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= value <= high:
            raise ValueError(f"must lie between {low} and {high}")
        return value

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if text and parts.scheme not in schemes:
            raise ValueError("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
        if text and "http" in schemes and not parts.hostname:
            raise ValueError("must name a host")
        if text and "duckdb" in schemes and (parts.netloc or len(parts.path) < 2):
            raise ValueError("must name an absolute path, as in duckdb:///var/lib/opssentinal/search.duckdb")
        return text.rstrip("/") if "http" in schemes else text

    return parse


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(network_of(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _receivers(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network | str, ...]:
    return tuple(_receiver(part.strip().lower()) for part in text.split(",") if part.strip())


def _receiver(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | str:
    try:
        return network_of(text, strict=False)
    except ValueError:
        labels = text.rstrip(".").split(".")
        is_name = text.isascii() and all(label.replace("-", "").replace("_", "").isalnum() for label in labels)
        if not is_name or labels[-1].isdigit():
            raise ValueError(f"{text} is neither a network nor the name of a host") from None
        return ".".join(labels)


def _file(text: str) -> Path | None:
    if not text:
        return None
    if not _path(text).is_file():
        raise ValueError("must name a file that exists")
    return _path(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("must be one of " + ", ".join(choices))
        return text

    return parse


SETTINGS: tuple[Setting, ...] = (
    Setting("DATA_DIR", "data", "Folder of the ledger, the search index, the keys and the exports.", _path),
    Setting(
        "DATABASE_URL",
        "",
        "Ledger and workspace: `postgresql://user:password@host:5432/name`. Empty: SQLite in the data directory.",
        _url("postgresql", "postgres"),
        secret=True,
    ),
    Setting(
        "SEARCH_URL",
        "",
        "Search index: `duckdb:///absolute/path`. Empty: `search.duckdb` in the data directory.",
        _url("duckdb"),
    ),
    Setting(
        "BASE_URL",
        "",
        "The address under which people reach the product. Empty: that of the server itself, as `serve` was started.",
        _url("http", "https"),
    ),
    Setting("ALLOWED_HOSTS", "", "Further host names to answer to, separated by commas.", _text),
    Setting("HOST", "127.0.0.1", "Address to listen on.", _text),
    Setting("PORT", "8000", "Port to listen on.", _whole(1, 65535)),
    Setting(
        "TRUSTED_PROXIES",
        "",
        "Networks of reverse proxies whose `X-Forwarded-For` is believed, separated by commas, such as `10.0.0.0/8`.",
        _networks,
    ),
    Setting(
        "OUTBOUND_ALLOW",
        "",
        "Receivers inside your network that the product may send requests to, also by plain http: networks and host names, "
        "separated by commas, such as `10.1.0.0/16,hooks.internal`. Everything that is not public is refused otherwise.",
        _receivers,
    ),
    Setting(
        "OUTBOUND_CA_FILE",
        "",
        "PEM file of certificate authorities to trust in requests of the product, besides the public ones and the system's.",
        _file,
    ),
    Setting(
        "SECRET_KEY",
        "",
        "Key that signs sessions and cursors and encrypts the secrets in the database, at least 32 characters. Empty: made "
        "once and kept in the data directory as `secret.key`. Back it up: without it those secrets cannot be read again.",
        _text,
        secret=True,
    ),
    Setting("PASSWORD_LINK_HOURS", "72", "Hours for which a one-time link to set a password works.", _whole(1, 720)),
    Setting(
        "QUEUE_EVENTS_MAX",
        "50000",
        "Events that may wait for the sequencer before callers get 503.",
        _whole(1, 10_000_000),
    ),
    Setting(
        "API_REQUESTS_PER_MINUTE", "600", "Read requests that one API key may make in a minute.", _whole(1, 1_000_000)
    ),
    Setting(
        "INGEST_EVENTS_PER_MINUTE", "6000000", "Events that one API key may send in a minute.", _whole(1, 1_000_000_000)
    ),
    Setting(
        "INGEST_PROCESSES",
        "1",
        "Processes that decode batches of events, beside the one that commits them.",
        _whole(1, 64),
    ),
    Setting("SEARCH_MEMORY_MB", "640", "Memory that the search engine may use.", _whole(128, 1_000_000)),
    Setting("SEARCH_THREADS", "0", "Threads of the search engine; 0 means one per core.", _whole(0, 1024)),
    Setting("QUERY_TIMEOUT_S", "30", "Seconds after which a query is stopped.", _whole(1, 3600)),
    Setting(
        "MAX_CONNECTIONS",
        "10000",
        "Connections open at the same time; requests on further ones get 503.",
        _whole(16, 1_000_000),
    ),
    Setting("PAGE_THREADS", "8", "Pages and API requests served at the same time.", _whole(1, 256)),
    Setting(
        "LOG_LEVEL", "info", "How much the server writes to its log.", _choice("debug", "info", "warning", "error")
    ),
    Setting("DEMO", "false", "Marks a data directory of invented events; set by `opssentinal demo`.", _flag),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Config:
    """The settings in force. Each row of the table is an attribute in lower case: `config.data_dir`, `config.port`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name.upper()]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def base_url(self) -> str:
        """The address under which people reach the product: the configured one, else that of the server itself.

        That one is known when it has been started once, also to commands, which do not see the options of `serve`.
        """
        return self.configured_url or left_address(self.data_dir) or address_of(self.host, self.port)

    @property
    def configured_url(self) -> str:
        """OPSSENTINAL_BASE_URL, or "" where the server's own address is to be taken."""
        return str(self._values["BASE_URL"])

    @cached_property
    def search_path(self) -> Path:
        """The DuckDB file."""
        return Path(urlsplit(self.search_url).path) if self.search_url else self.data_dir / "search.duckdb"

    @cached_property
    def search_socket(self) -> Path:
        """The Unix socket on which the back process answers. Short, since the system allows about 100 bytes."""
        path = self.data_dir / "back.sock"
        if len(os.fsencode(path)) < 100:
            return Path(path)
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(f"/tmp/opssentinal-{os.getuid()}-{digest}.sock")  # made with mode 0600 by its owner

    @cached_property
    def allowed_host_names(self) -> list[str]:
        """Host names that requests may carry."""
        extra = [name.strip() for name in self.allowed_hosts.split(",") if name.strip()]
        return [urlsplit(self.configured_url).hostname or "localhost", "localhost", "127.0.0.1", "[::1]", *extra]

    def shown(self) -> dict[str, str]:
        """Every setting with its value in force, secrets hidden; for `opssentinal check`."""
        return {
            s.name: ("(set)" if self._values[s.name] else "") if s.secret else _plain(getattr(self, s.name.lower()))
            for s in SETTINGS
        }


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """Read the environment and the TOML file. Raises ConfigError, naming the setting and what it may hold."""
    from_file, from_environment = _from_file(environ), _from_environment(environ)
    texts = from_file | from_environment
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = texts.get(setting.name, setting.default)
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            shown = "" if setting.secret else f" {text!r}"
            is_of_file = setting.name in from_file and setting.name not in from_environment
            named = f"{environ[PREFIX + CONFIG_FILE]}: {setting.name.lower()}" if is_of_file else PREFIX + setting.name
            raise ConfigError(f"{named}{shown}: {error}.", hint=setting.description) from error
    # `opssentinal demo` leaves a mark, so that whoever serves the directory later need not know.
    values["DEMO"] = values["DEMO"] or (values["DATA_DIR"] / DEMO_MARK).exists()
    return Config(values)


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable[len(PREFIX) :]
        if name in (CONFIG_FILE, "VENV"):  # VENV belongs to scripts/bootstrap
            continue
        if name.endswith("_FILE") and name[:-5] in _BY_NAME and _BY_NAME[name[:-5]].secret:
            try:
                texts[name[:-5]] = Path(text).read_text().strip()
            except OSError as error:
                raise ConfigError(f"{variable}: {text} cannot be read: {error.strerror}.") from error
        elif name in _BY_NAME:
            texts.setdefault(name, text)
        else:
            raise _unknown(name, list(_BY_NAME), prefix=PREFIX)
    return texts


def _from_file(environ: Mapping[str, str]) -> dict[str, str]:
    path = environ.get(PREFIX + CONFIG_FILE)
    if not path:
        return {}
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"{PREFIX}{CONFIG_FILE}: {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    texts: dict[str, str] = {}
    for key, value in table.items():
        if key.upper() not in _BY_NAME or key != key.lower():
            raise _unknown(key, [known.lower() for known in _BY_NAME], f" in {path}")
        texts[key.upper()] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return texts


def _unknown(name: str, known: list[str], where: str = "", *, prefix: str = "") -> ConfigError:
    near = difflib.get_close_matches(name, known, 1)  # without the prefix, which would make all of them alike
    hint = f"Did you mean {prefix}{near[0]}?" if near else "docs/guide/configuration.md lists every setting."
    return ConfigError(f"There is no setting {prefix}{name}{where}.", hint=hint)


def secret_key(config: Config) -> str:
    """The configured secret, or the one kept in the data directory, made there on first use."""
    if config.secret_key:
        if len(config.secret_key) < 32:
            raise ConfigError(f"{PREFIX}SECRET_KEY is too short.", hint="Use at least 32 random characters.")
        return str(config.secret_key)
    try:
        return made_once(config.data_dir / "secret.key", lambda: secrets.token_urlsafe(48))
    except OSError as error:
        raise unusable(config.data_dir, error) from error
