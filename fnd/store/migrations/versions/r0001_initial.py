"""Apps, fns and triggers, as fnd 0.0 had them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """Make the tables. Types are spelled out: this stays as it is, whatever fnd.store.schema becomes."""
    op.create_table(
        "apps",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("syslog_url", sa.Text, nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.UniqueConstraint("name", name="apps_name"),
    )
    op.create_table(
        "fns",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("app_id", sa.String(26), sa.ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("memory", sa.Integer, nullable=False),
        sa.Column("timeout", sa.Integer, nullable=False),
        sa.Column("idle_timeout", sa.Integer, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.UniqueConstraint("app_id", "name", name="fns_app_name"),
    )
    op.create_index("fns_order", "fns", ["name", "id"])
    op.create_table(
        "triggers",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("app_id", sa.String(26), sa.ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
        sa.Column("fn_id", sa.String(26), sa.ForeignKey("fns.id", ondelete="CASCADE"), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.UniqueConstraint("app_id", "name", name="triggers_app_name"),
        sa.UniqueConstraint("app_id", "type", "source", name="triggers_app_source"),
    )
    op.create_index("triggers_fn", "triggers", ["fn_id"])
    op.create_index("triggers_order", "triggers", ["name", "id"])
