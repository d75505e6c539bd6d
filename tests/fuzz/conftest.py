"""The server that is fuzzed; it must come out of it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opssentinal.apikeys.principal import SCOPES
from tests.crash.conftest import Subject
from tests.server import ServerProcess


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A running server and a key that may do everything, as often as it likes."""
    data_dir = tmp_path_factory.mktemp("fuzz") / "data"
    with ServerProcess(data_dir, OPSSENTINAL_API_REQUESTS_PER_MINUTE="1000000") as server:
        subject = Subject(server)
        subject.key = server.api_key(*SCOPES, source="fuzz")
        yield subject
        subject.check()
        log = server.log.read_text()
        assert "Traceback" not in log, log[-4000:]
