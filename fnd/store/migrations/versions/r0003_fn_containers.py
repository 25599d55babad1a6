"""A fn may say how many containers it wants; those from before want none kept and set no limit."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """Add the columns with the old behaviour as every row's value."""
    for name in ("min_warm", "max_containers"):
        op.add_column("fns", sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")))
