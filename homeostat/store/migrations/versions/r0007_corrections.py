"""Rescored corrections are no batches: they count for no window, metric or alarm; their scores stay in the lake."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Delete the batches and windows that were made of rescored corrections."""
    op.execute("DELETE FROM windows WHERE batch LIKE '%/corrections'")
    op.execute("DELETE FROM batches WHERE id LIKE '%/corrections'")


def downgrade() -> None:
    """An earlier release makes such a batch again of what is in the lake."""
