"""A fn names the format it speaks; those from before speak http-stream, the only one there was."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """Add the column with the old behaviour as every row's value."""
    column = sa.Column("format", sa.String(255), nullable=False, server_default=sa.text("'http-stream'"))
    op.add_column("fns", column)
