"""Apps, fns, triggers and calls' records on disk: one SQLite file, one writer, and threads the trio loop awaits."""

from fnd.store.repositories import ListQuery, Page
from fnd.store.store import CallHistory, Collection, Contents, Store, StoreHealth, open_store

__all__ = ["CallHistory", "Collection", "Contents", "ListQuery", "Page", "Store", "StoreHealth", "open_store"]
