"""A fn may reserve processors; those from before reserve none."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"


def upgrade() -> None:
    """Add the column with the old behaviour as every row's value."""
    op.add_column("fns", sa.Column("cpu", sa.Integer, nullable=False, server_default=sa.text("0")))
