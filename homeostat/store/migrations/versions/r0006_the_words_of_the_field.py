"""Lineage, root version, ensemble, e-process: columns, facts, evidence and outcomes under the names of the field."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAMES = {
    "line": "lineage",
    "wager": "e_process",
    "wagers": "e_processes",
    "capital": "log_e_value",
    "log_capital": "log_e_value",
    "log_capital_at_most": "log_e_value_max",
    "yardstick": "full_cost",
    "yard_a_tick": "full_cost_per_tick",
}
FAMILIES = {"committee": "ensemble"}
FACTS = {"committee": "ensemble"}
DOCUMENTS = {"facts": "value", "decisions": "evidence", "stages": "outcome"}


def upgrade() -> None:
    """Rename what is kept; the journal stays as it is, for its links are hashed."""
    with op.batch_alter_table("models") as models:
        models.alter_column("line", new_column_name="lineage")
    _rename(NAMES, FAMILIES, FACTS)


def downgrade() -> None:
    """Give everything its earlier name back."""
    _rename(*({new: old for old, new in names.items() if old != "log_capital"} for names in (NAMES, FAMILIES, FACTS)))
    with op.batch_alter_table("models") as models:
        models.alter_column("lineage", new_column_name="line")


def _rename(keys: dict[str, str], families: dict[str, str], facts: dict[str, str]) -> None:
    for table, column in DOCUMENTS.items():
        _rewrite(table, column, lambda value: _with_keys(value, keys))
    for old, new in families.items():
        op.execute(sa.text("UPDATE models SET family = :new WHERE family = :old").bindparams(new=new, old=old))
    for old, new in facts.items():
        op.execute(sa.text("UPDATE facts SET name = :new WHERE name = :old").bindparams(new=new, old=old))


def _with_keys(value: Any, keys: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {keys.get(name, name): _with_keys(inner, keys) for name, inner in value.items()}
    return [_with_keys(inner, keys) for inner in value] if isinstance(value, list) else value


def _rewrite(table: str, column: str, change: Callable[[Any], Any]) -> None:
    """Write each row's document anew where `change` makes it another one."""
    kept = sa.Table(table, sa.MetaData(), autoload_with=op.get_bind())
    keys = list(kept.primary_key.columns)
    target = sa.cast(kept.c[column], sa.JSON) if not isinstance(kept.c[column].type, sa.JSON) else kept.c[column]
    bind = op.get_bind()
    for row in bind.execute(sa.select(*keys, target.label("document"))).mappings().all():
        changed = change(row["document"])
        if changed != row["document"]:
            where = sa.and_(*(key == row[key.name] for key in keys))
            bind.execute(sa.update(kept).where(where).values({column: changed}))
