"""Which run a command goes on with: one of the very same plan whose driver has gone, or a new one.

An unfinished run has an entry below `<lake>/runs/<what is the same>/` and is held by its driver, so that the
same command given twice at once makes two runs. Docs: docs/decisions/012-training-that-ends.md.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace

from conf.settings import Settings
from lake.errors import InUse, StorageError
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.snapshot import Snapshot
from lake.storage import Storage
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.workers.checkpoints import CheckpointOwner, Checkpoints
from models.workers.initial_weights import InitialWeights

FOLDER = "runs"
_MADE_BY = ("deep-images-hub", "tensorflow", "keras")  # other versions may compute otherwise


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that has not ended by itself.

    Args:
        model_id: of the run.
        run: what is the same in every attempt of it (see `identity`).
        dataset_id, architecture: of its plan.
        dead: whether it was found without a driver, and its row says so.
    """

    model_id: str
    run: str
    dataset_id: str
    architecture: str
    dead: bool = False


@dataclass(frozen=True)
class RunLock:
    """A run that this process holds.

    Args:
        settings: of the hub.
        entry: the run.
        epochs: finished before; None for a new run.
    """

    settings: Settings
    entry: UnfinishedRun
    epochs: int | None

    @property
    def model_id(self) -> str:
        """Of the run."""
        return self.entry.model_id

    def close(self) -> None:
        """Say that nothing is left to go on with."""
        folder = _folder(self.settings, self.entry.run)
        folder.remove(_file(self.model_id))
        if not self.settings.lake.root.startswith("s3a://"):  # there the lease removes itself
            folder.remove(f"{self.model_id}.lock")


def run_fingerprint(plan: TrainingPlan, snapshot: Snapshot, start: InitialWeights | None) -> str:
    """A name for all that decides a run's weights: plan, pictures, start, versions (16 hex digits)."""
    digest = hashlib.blake2b(digest_size=8)
    versions = {name: importlib.metadata.version(name) for name in _MADE_BY}
    told = asdict(plan) | {"snapshot": snapshot.sha256(), "versions": versions}
    digest.update(json.dumps(told, sort_keys=True).encode())
    for value in start.values if start else ():
        digest.update(value.tobytes())
    return digest.hexdigest()


@contextmanager
def run_locked(
    settings: Settings, plan: TrainingPlan, snapshot: Snapshot, start: InitialWeights | None
) -> Iterator[RunLock]:
    """Hold the run to go on with while the block runs.

    Raises:
        ForeignCheckpoint: what is to be gone on from is of another run.
        StorageError: the lake cannot be written.
    """
    run = run_fingerprint(plan, snapshot, start)
    with ExitStack() as held:
        claim = _taken_up(held, settings, plan, run) or _begun(held, settings, plan, run)
        yield claim


def _taken_up(held: ExitStack, settings: Settings, plan: TrainingPlan, run: str) -> RunLock | None:
    folder = _folder(settings, run)
    for name in folder.names():
        if not name.endswith(".json"):
            continue
        model_id = name.removesuffix(".json")
        try:
            held.enter_context(_hold(settings, run, model_id))
        except InUse:
            continue
        if folder.exists(name):  # it may have ended in the meantime
            entry = replace(_read(folder, name), dead=False)
            claim = RunLock(settings, entry, _epochs(settings, plan, run, model_id))
            _write(settings, entry)
            return claim
    return None


def _epochs(settings: Settings, plan: TrainingPlan, run: str, model_id: str) -> int:
    of = CheckpointOwner(plan.architecture, plan.dataset_id, run)
    found = Checkpoints(model_cards.artifacts(settings, model_id).below("checkpoints"), of).newest()
    return found.epochs if found else 0


def _begun(held: ExitStack, settings: Settings, plan: TrainingPlan, run: str) -> RunLock:
    entry = UnfinishedRun(model_rows.new_id(plan.architecture), run, plan.dataset_id, plan.architecture)
    held.enter_context(_hold(settings, run, entry.model_id))
    _write(settings, entry)
    return RunLock(settings, entry, None)


def abandoned_runs(settings: Settings) -> list[UnfinishedRun]:
    """Runs whose driver has gone since this was asked last; each is answered once."""
    found = []
    storage = Storage(settings.lake.at(FOLDER), settings.s3)
    for name in storage.names():
        if not name.endswith(".json"):
            continue
        try:
            entry = _read(storage, name)
            if entry.dead:
                continue
            with _hold(settings, entry.run, entry.model_id):
                if storage.exists(name):
                    _write(settings, replace(entry, dead=True))
                    found.append(entry)
        except (InUse, StorageError, ValueError, TypeError):
            continue
    return found


def _hold(settings: Settings, run: str, model_id: str) -> AbstractContextManager[None]:
    uri = settings.lake.at(FOLDER, run, f"{model_id}.lock")
    return lease.held(uri, settings.s3, settings.train.lease_seconds, LockHolder.this("train"))


def _folder(settings: Settings, run: str) -> Storage:
    return Storage(settings.lake.at(FOLDER, run), settings.s3)


def _file(model_id: str) -> str:
    return f"{model_id}.json"


def _read(storage: Storage, name: str) -> UnfinishedRun:
    return UnfinishedRun(**storage.read_json(name))  # type: ignore[arg-type]  # what `_write` has written


def _write(settings: Settings, entry: UnfinishedRun) -> None:
    _folder(settings, entry.run).write_json(_file(entry.model_id), asdict(entry))
