"""A fn's containers may serve several calls at once; those from before serve one."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    """Add the column with the old behaviour as every row's value."""
    op.add_column("fns", sa.Column("concurrency", sa.Integer, nullable=False, server_default=sa.text("1")))
