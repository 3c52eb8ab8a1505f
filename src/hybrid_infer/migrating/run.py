"""Run: begins a move to another mode, or goes on with one that is unfinished."""

from __future__ import annotations

from uuid import uuid4

from hybrid_infer.calls.call import ModeChoice
from hybrid_infer.core import Core
from hybrid_infer.errors import InvalidCallError
from hybrid_infer.migrating.errors import MigrationBusyError, MigrationError
from hybrid_infer.migrating.journal import Book, Journal, Record
from hybrid_infer.migrating.migration import Migration
from hybrid_infer.migrating.plan import MigrateOptions, moved_models, options_of, plan
from hybrid_infer.migrating.report import MigrationReport


async def migrate(
    core: Core,
    target: ModeChoice | None,
    given: MigrateOptions,
    *,
    resume: bool = False,
    undo: bool = False,
) -> MigrationReport:
    """See `Client.migrate`."""
    if resume and undo:
        raise InvalidCallError("resume and undo: one of the two")
    options = options_of(given)
    machines = core.machines
    models = moved_models(core.assembly, options.models, machines.settings)
    journal = Journal(machines.keeper.store, models[0] if models else None)
    record = await journal.read()
    if resume or undo:
        if record is None:
            raise MigrationError(
                f"there is no unfinished move of {models[0] or 'the only model'}"
                if models
                else "no model moves",
                hint="begin one without resume and undo; one of other models= needs them here, too",
            )
        if target is not None and target != record.after:
            raise MigrationBusyError(f"the unfinished move goes to {record.after}, and not to {target}")
    else:
        if target is None:
            raise InvalidCallError("target: name the mode to move to")
        if record is not None:
            raise MigrationBusyError(
                f"a move from {record.before} to {record.after} is unfinished "
                f"({record.phase}, {record.holder})",
                hint="resume or undo it: resume=True or undo=True, hybrid-infer switch --resume or --undo",
            )
        found = plan(core, target, options)
        record = Record(
            id=uuid4().hex,
            before=found.before,
            after=found.after,
            models=found.models,
            steps=options.steps,
            dwell=options.dwell,
            replicas=options.replicas,
            keep_old=options.keep_old,
            shift=options.shift,
        )
    book = Book(journal, core.runtime, machines.keeper.holder, record)
    return await Migration(core, options, book, resumed=resume or undo).run(undo=undo)
