"""The pool: accounts that an operator adds, and the standing of all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003_pool"
down_revision = "0002_tasks"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=True),
        sa.Column("proxy", sa.Text(), nullable=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("upstream", "name", name="uq_accounts_upstream_name"),
    )
    op.create_table(
        "standings",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "fact", name="pk_standings"),
    )
    op.create_index("ix_standings_updated_at", "standings", ["updated_at"])


def downgrade() -> None:
    op.drop_table("standings")
    op.drop_table("accounts")
