"""Tasks that survive anything: versions, texts, idempotent requests, the outbox of webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0002_tasks"
down_revision = "0001_spine"


def upgrade() -> None:
    # One by one, as both databases can: no batch, which would copy the table on SQLite.
    op.add_column("tasks", sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("answer", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("metadata", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("webhook", sa.Text(), nullable=True))
    op.create_index("ix_tasks_account_id_state", "tasks", ["account_id", "state"])
    op.create_table(
        "requests",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("body_key", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_requests"),
    )
    op.create_index("ix_requests_expires_at", "requests", ["expires_at"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_state_next_at", "deliveries", ["state", "next_at"])
    op.create_index("ix_deliveries_owner_created_at", "deliveries", ["owner", "created_at"])
    op.create_index("ix_deliveries_task_id", "deliveries", ["task_id"])
    op.create_table(
        "destinations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_destinations"),
        sa.UniqueConstraint("owner", "url", name="uq_destinations_owner_url"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "generation", name="pk_webhook_secrets"),
    )


def downgrade() -> None:
    _leave_what_can_be_read()
    for table in ("webhook_secrets", "destinations", "deliveries", "requests"):
        op.drop_table(table)
    op.drop_index("ix_tasks_account_id_state", "tasks")
    for column in ("webhook", "metadata", "answer", "version"):
        op.drop_column("tasks", column)


def _leave_what_can_be_read() -> None:
    """Before this schema all tasks were videos, entered with their outputs at once, and asked for unless they said
    `submitting`: what is not like that goes, or becomes so. What was made stays in the library."""
    tasks = sa.table("tasks", sa.column("id"), sa.column("kind"), sa.column("state"), sa.column("job"))
    outputs = sa.table("outputs", sa.column("task_id"))
    video = tasks.c.kind.in_(("t2v", "i2v", "flf2v", "ref2v"))
    final = tasks.c.state.in_(("succeeded", "failed", "cancelled", "expired"))
    op.execute(outputs.delete().where(outputs.c.task_id.in_(sa.select(tasks.c.id).where(~(video & final)))))
    op.execute(tasks.delete().where(~video))
    asked = (tasks.c.state == "submit_unknown") | ((tasks.c.state == "running") & tasks.c.job.is_(None))
    op.execute(tasks.update().where(asked).values(state="submitting"))
