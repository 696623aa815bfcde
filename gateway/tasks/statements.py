"""The statements of a task's everyday life, built once: building one costs more than the database takes to run it.

Parameters of what is written are named `new_<column>`, those of what is looked for `the_<column>`.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Double, and_, bindparam, insert, select, update

from gateway.db.clock import server_time
from gateway.db.tables import assets, outputs, tasks
from gateway.tasks.rows import CONSTANT, change_of
from gateway.tasks.task import OPEN, Task

FREED: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": 0.0}
CHANGED: Final[dict[str, Any]] = {"version": tasks.c.version + 1}
TOLD: Final = tuple(tasks.c[name] for name in ("id", "owner", "state", "version", "webhook", "cancel_requested"))
"""What a changed row tells of itself."""

_KEPT_APART = frozenset({"lease_owner", "lease_until", "version", "cancel_requested"})
_VALUES = {
    column.name: bindparam(f"new_{column.name}", type_=column.type)
    for column in tasks.c
    if column.name not in CONSTANT | _KEPT_APART
} | CHANGED
_HELD = and_(tasks.c.id == bindparam("the_id"), tasks.c.lease_owner == bindparam("the_lease"), tasks.c.state.in_(OPEN))
_ASKED = and_(
    tasks.c.id == bindparam("the_id"),
    tasks.c.state.in_(("submitting", "submit_unknown")),
    tasks.c.submitted_at == bindparam("the_submitted_at"),
)

BY_ID: Final = select(tasks).where(tasks.c.id == bindparam("the_id"))
SAVE: Final = update(tasks).where(_HELD).values(_VALUES | FREED).returning(*TOLD)
"""Write a task that is held, and let go of it."""
SAVE_HELD: Final = update(tasks).where(_HELD).values(_VALUES).returning(*TOLD)
SENDING: Final = update(tasks).where(and_(_HELD, tasks.c.cancel_requested.is_(False))).values(_VALUES).returning(*TOLD)
JOB_MADE: Final = update(tasks).where(_ASKED).values(_VALUES | FREED).returning(*TOLD)

NEW: Final = insert(tasks).values({column.name: bindparam(column.name, type_=column.type) for column in tasks.c})
"""With a lease by the clock of this process, where that is the database's."""
NEW_BY_SERVER: Final = insert(tasks).values(
    {column.name: bindparam(column.name, type_=column.type) for column in tasks.c if column.name != "lease_until"}
    | {"lease_until": server_time() + bindparam("hold", type_=Double)}
)

OUTPUT_AT: Final = select(outputs.c.id).where(
    outputs.c.task_id == bindparam("the_task"), outputs.c.position == bindparam("the_position")
)
NEW_OUTPUT: Final = insert(outputs)
OUTPUTS_OF: Final = (
    select(
        *(outputs.c[name] for name in ("task_id", "position", "state", "asset_id", "error")),
        *(assets.c[name] for name in ("key", "mime", "size", "width", "height", "seconds")),
    )
    .join(assets, assets.c.id == outputs.c.asset_id, isouter=True)
    .where(outputs.c.task_id.in_(bindparam("the_tasks", expanding=True)))
    .order_by(outputs.c.task_id, outputs.c.position)
)


def new_values(task: Task) -> dict[str, Any]:
    """What is written of a task, under the names that the statements have for it."""
    return {f"new_{name}": value for name, value in change_of(task).items()}
