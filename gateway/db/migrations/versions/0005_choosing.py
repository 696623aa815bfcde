"""What is chosen and how it was made: preferences, batches, and the parameters that tasks were made with."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005_choosing"
down_revision = "0004_library"

TASKS: tuple[sa.Column[Any], ...] = (
    sa.Column("parameters", sa.Text(), nullable=True),
    sa.Column("adjustments", sa.Text(), nullable=True),
    sa.Column("batch_id", sa.Text(), nullable=True),
    sa.Column("skipped", sa.Integer(), nullable=False, server_default=sa.text("0")),
)
MADE = sa.text("batch_id IS NOT NULL")


def upgrade() -> None:
    for column in TASKS:
        op.add_column("tasks", column._copy())
    op.create_index("ix_tasks_batch_id", "tasks", ["batch_id"], sqlite_where=MADE, postgresql_where=MADE)
    op.create_table(
        "preferences",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "kind", name="pk_preferences"),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=False),
        sa.Column("account_tags", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_owner_created_at", "batches", ["owner", "created_at"])
    op.create_index("ix_batches_state", "batches", ["state"])
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_items_batch_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "position", name="pk_batch_items"),
    )
    op.create_index("ix_batch_items_task_id", "batch_items", ["task_id"])


def downgrade() -> None:
    for table in ("batch_items", "batches", "preferences"):
        op.drop_table(table)
    op.drop_index("ix_tasks_batch_id", "tasks")
    for column in reversed(TASKS):
        op.drop_column("tasks", column.name)
