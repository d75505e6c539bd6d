"""Django's SQLite backend over the SQLite that pysqlite3 bundles, with the settings a ledger needs."""
