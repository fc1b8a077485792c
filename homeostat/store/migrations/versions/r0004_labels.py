"""Rows that people are asked to label, and what each of them said."""

import sqlalchemy as sa
from alembic import op

from homeostat.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables of tasks and answers."""
    op.create_table(
        "label_tasks",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("id", sa.String(300), primary_key=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("batch", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=True),
        sa.Column("suggestion", sa.Text(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.Column("remote", sa.String(200), nullable=True),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("quality", sa.Float(), nullable=True),
        sa.Column("agreement", sa.Float(), nullable=True),
    )
    for column in ("key", "asked_at", "state"):
        op.create_index(f"ix_label_tasks_{column}", "label_tasks", [column])
    op.create_table(
        "label_answers",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("task", sa.String(300), primary_key=True),
        sa.Column("who", sa.String(200), primary_key=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("remote", sa.String(200), nullable=True),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("label_answers")
    op.drop_table("label_tasks")
