"""Approvals, leases, posts and replies; who has seen an alert; and what makes a page of years of history quick."""

import sqlalchemy as sa
from alembic import op

from homeostat.store.schema import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SEEN = {
    "acknowledged_at": Instant(),
    "acknowledged_by": sa.String(200),
    "note": sa.Text(),
    "snoozed_until": Instant(),
}
INDEXES = {
    "ix_windows_role_end_at": ("windows", ["owner", "role", "end_at"]),
    "ix_stages_stage_tick_at": ("stages", ["owner", "stage", "tick_at"]),
    "ix_alerts_at": ("alerts", ["owner", "at"]),
    "ix_batches_state": ("batches", ["owner", "state"]),
    "ix_checks_share": ("checks", ["owner", "tick_at", "status", "share"]),
    "ix_decisions_kind": ("decisions", ["owner", "tick_at", "kind"]),
    "ix_journal_at": ("journal", ["owner", "at", "kind"]),
}
GISTS = {"status": sa.String(16), "share": sa.Float()}


def upgrade() -> None:
    """Add the tables, the columns and the indexes."""
    op.create_table(
        "approvals",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("by", sa.String(200), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
    )
    op.create_table(
        "leases",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("taken_at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
    )
    op.create_table(
        "posts",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("batch", sa.String(64), nullable=True),
    )
    op.create_index("ix_posts_waiting", "posts", ["owner", "kind", "batch", "received_at"])
    op.create_table(
        "replies",
        sa.Column("owner", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=True),
    )
    for name, kind in SEEN.items():
        op.add_column("alerts", sa.Column(name, kind, nullable=True))
    for name, kind in GISTS.items():
        op.add_column("checks", sa.Column(name, kind, nullable=True))
    _fill_gists()
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def _fill_gists() -> None:
    """Say again beside each drift check what it found."""
    checks = sa.table("checks", sa.column("drift", sa.JSON), *(sa.column(n, kind) for n, kind in GISTS.items()))
    drift = checks.c.drift
    op.execute(checks.update().values(status=drift["status"].as_string(), share=drift["share"].as_float()))


def downgrade() -> None:
    """Take them away."""
    for name, (table, _columns) in INDEXES.items():
        op.drop_index(name, table)
    for owner, names in (("alerts", SEEN), ("checks", GISTS)):
        with op.batch_alter_table(owner) as table:
            for name in names:
                table.drop_column(name)
    for name in ("replies", "posts", "leases", "approvals"):
        op.drop_table(name)
