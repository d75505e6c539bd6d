"""The search store on DuckDB: one file, opened by the back process alone."""

from opssentinal.search.duckdb.store import DuckDBStore

__all__ = ["DuckDBStore"]
