"""Models know the line they belong to, and the loss on their holdout."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; a model of before is a line of its own without a reference loss."""
    with op.batch_alter_table("models") as models:
        models.add_column(sa.Column("line", sa.Integer(), nullable=True))
        models.add_column(sa.Column("loss", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("models") as models:
        models.drop_column("loss")
        models.drop_column("line")
