"""What every test has: a data directory of its own that is gone afterwards, and nothing of the developer's environment.

A plugin named in pyproject.toml rather than a conftest, since pytest-django reads the settings before any conftest runs.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Before Django's settings are read. The database alone may be chosen from outside: the suite runs on each that we support.
_database_url = os.environ.get("OPSSENTINAL_DATABASE_URL")
for _name in [name for name in os.environ if name.startswith("OPSSENTINAL_")]:
    del os.environ[_name]
if _database_url:
    # Servers that tests start use the database itself: each of several processes of pytest has its own, named after it.
    _worker = os.environ.get("PYTEST_XDIST_WORKER")
    os.environ["OPSSENTINAL_DATABASE_URL"] = f"{_database_url}_{_worker}" if _worker else _database_url
_folder = tempfile.mkdtemp(prefix="opssentinal-test-")
os.environ["OPSSENTINAL_DATA_DIR"] = _folder
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
