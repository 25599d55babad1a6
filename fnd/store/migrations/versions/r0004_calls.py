"""Records of calls, of which earlier versions kept none."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade() -> None:
    """Add the table, empty."""
    op.create_table(
        "calls",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("app_id", sa.String(26), nullable=False),
        sa.Column("app_name", sa.String(255), nullable=False),
        sa.Column("fn_id", sa.String(26), nullable=False),
        sa.Column("fn_name", sa.String(255), nullable=False),
        sa.Column("arrived_at", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("cold", sa.Boolean, nullable=False),
        sa.Column("resumed", sa.Boolean, nullable=False),
        sa.Column("receive", sa.Float, nullable=False),
        sa.Column("queue", sa.Float, nullable=False),
        sa.Column("launch", sa.Float, nullable=False),
        sa.Column("run", sa.Float, nullable=False),
        sa.Column("waited_for", sa.String(32), nullable=False),
        sa.Column("container_id", sa.String(26), nullable=False),
        sa.Column("situation", sa.Text, nullable=True),
    )
    op.create_index("calls_fn", "calls", ["fn_id", "id"])
    op.create_index("calls_app", "calls", ["app_id", "id"])
