"""Apps, fns and triggers on disk: one SQLite file, one writer, threads that the trio loop never waits for."""

from fnd.store.repositories import ListQuery, Page
from fnd.store.store import Collection, Contents, Store, StoreHealth, open_store

__all__ = ["Collection", "Contents", "ListQuery", "Page", "Store", "StoreHealth", "open_store"]
