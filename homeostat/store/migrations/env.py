"""Alembic's entry: runs the migrations on the connection that `engine.connect` hands over."""

from alembic import context

from homeostat.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
