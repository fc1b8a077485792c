"""Bounds of a provisional window's metric, from what its missing labels can make of it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the bounds; windows measured before have none."""
    with op.batch_alter_table("windows") as windows:
        windows.add_column(sa.Column("realized_low", sa.Float(), nullable=True))
        windows.add_column(sa.Column("realized_high", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drop the bounds."""
    with op.batch_alter_table("windows") as windows:
        windows.drop_column("realized_high")
        windows.drop_column("realized_low")
