"""Resume an unfinished run with the same fingerprint, or start a new one; a run is locked by its driver.

An unfinished run has an entry below `<lake>/runs/<fingerprint>/`. A command resumes it only if no driver
holds its lock, so two identical commands at the same time train two models.
Docs: docs/decisions/012-training-failures-and-restarts.md.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace

from conf.settings import Settings
from lake.errors import InUse, StorageError
from lake.locks import lease
from lake.locks.lock_holder import LockHolder
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from models.errors import LeaseLost
from models.plan import TrainingPlan
from models.registry import model_cards, model_rows
from models.workers.checkpoints import CheckpointOwner, Checkpoints
from models.workers.initial_weights import InitialWeights

FOLDER = "runs"
_VERSIONED_PACKAGES = ("deep-images-hub", "tensorflow", "keras")  # another version may give other weights


@dataclass(frozen=True)
class UnfinishedRun:
    """The entry of a run that has not finished or diverged; JSON in `<model id>.json`.

    Args:
        model_id: id of the model that the run trains.
        run: the run's fingerprint (see `run_fingerprint`).
        dataset_id, architecture: from its plan.
        dead: whether the run was found without a driver and its row was marked as failed.
    """

    model_id: str
    run: str
    dataset_id: str
    architecture: str
    dead: bool = False


@dataclass(frozen=True)
class RunLock:
    """A run that this process has locked.

    Args:
        settings: of the hub.
        entry: the run.
        finished_epochs: epochs that earlier attempts finished; None for a new run.
        losses: why the lease on the run was lost; empty while this process holds it.
    """

    settings: Settings
    entry: UnfinishedRun
    finished_epochs: int | None
    losses: list[str] = field(default_factory=list)

    @property
    def model_id(self) -> str:
        """Id of the model that the run trains."""
        return self.entry.model_id

    def raise_if_lost(self) -> None:
        """Raise LeaseLost if another command may have taken the run over."""
        if self.losses:
            raise LeaseLost(f"stopped: {self.losses[0]}; run the same command again to resume the run")

    def delete_entry(self) -> None:
        """Delete the run's entry, so that no later command resumes it."""
        folder = _folder(self.settings, self.entry.run)
        folder.delete_files(_entry_name(self.model_id))
        if not self.settings.lake.root.startswith("s3a://"):  # on S3 the lease deletes its own object
            folder.delete_files(f"{self.model_id}.lock")


def run_fingerprint(plan: TrainingPlan, snapshot: DatasetSnapshot, start: InitialWeights | None) -> str:
    """Hash all that decides a run's weights: plan, pictures, initial weights, versions (16 hex digits)."""
    digest = hashlib.blake2b(digest_size=8)
    versions = {name: importlib.metadata.version(name) for name in _VERSIONED_PACKAGES}
    inputs = asdict(plan) | {"snapshot": snapshot.sha256(), "versions": versions}
    digest.update(json.dumps(inputs, sort_keys=True).encode())
    for value in start.values if start else ():
        digest.update(value.tobytes())
    return digest.hexdigest()


@contextmanager
def run_locked(
    settings: Settings, plan: TrainingPlan, snapshot: DatasetSnapshot, start: InitialWeights | None
) -> Iterator[RunLock]:
    """Lock an unfinished run of this plan, or a new one, while the block runs.

    Raises:
        CheckpointMismatch: the checkpoints to resume from belong to another run.
        StorageError: the lake cannot be written.
    """
    run = run_fingerprint(plan, snapshot, start)
    with ExitStack() as locks:
        yield _lock_unfinished(locks, settings, plan, run) or _lock_new(locks, settings, plan, run)


def _lock_unfinished(locks: ExitStack, settings: Settings, plan: TrainingPlan, run: str) -> RunLock | None:
    folder = _folder(settings, run)
    for name in folder.list_files():
        if not name.endswith(".json"):
            continue
        model_id, losses = name.removesuffix(".json"), list[str]()
        try:
            locks.enter_context(_locked(settings, run, model_id, losses.append))
        except InUse:
            continue
        if folder.exists(name):  # the run may have finished before we had the lock
            entry = replace(_read_entry(folder, name), dead=False)
            lock = RunLock(settings, entry, _finished_epochs(settings, plan, run, model_id), losses)
            _write_entry(settings, entry)
            return lock
    return None


def _finished_epochs(settings: Settings, plan: TrainingPlan, run: str, model_id: str) -> int:
    owner = CheckpointOwner(plan.architecture, plan.dataset_id, run)
    folder = model_cards.artifact_storage(settings, model_id).subfolder("checkpoints")
    newest = Checkpoints(folder, owner).newest()
    return newest.epochs if newest else 0


def _lock_new(locks: ExitStack, settings: Settings, plan: TrainingPlan, run: str) -> RunLock:
    entry = UnfinishedRun(model_rows.new_model_id(plan.architecture), run, plan.dataset_id, plan.architecture)
    losses: list[str] = []
    locks.enter_context(_locked(settings, run, entry.model_id, losses.append))
    _write_entry(settings, entry)
    return RunLock(settings, entry, None, losses)


def newly_abandoned_runs(settings: Settings) -> list[UnfinishedRun]:
    """Find unfinished runs without a driver and mark their entries as dead, so that each is returned once."""
    abandoned = []
    storage = Storage(settings.lake.at(FOLDER), settings.s3)
    for name in storage.list_files():
        if not name.endswith(".json"):
            continue
        try:
            entry = _read_entry(storage, name)
            if entry.dead:
                continue
            with _locked(settings, entry.run, entry.model_id):
                if storage.exists(name):
                    _write_entry(settings, replace(entry, dead=True))
                    abandoned.append(entry)
        except (InUse, StorageError, ValueError, TypeError):
            continue
    return abandoned


def _locked(
    settings: Settings, run: str, model_id: str, on_loss: Callable[[str], None] = lambda why: None
) -> AbstractContextManager[None]:
    uri = settings.lake.at(FOLDER, run, f"{model_id}.lock")
    holder = LockHolder.this_process("train", settings.spark.work_dir)
    return lease.held(uri, settings.s3, settings.train.lease_seconds, holder, on_loss)


def _folder(settings: Settings, run: str) -> Storage:
    return Storage(settings.lake.at(FOLDER, run), settings.s3)


def _entry_name(model_id: str) -> str:
    return f"{model_id}.json"


def _read_entry(storage: Storage, name: str) -> UnfinishedRun:
    return UnfinishedRun(**storage.read_json(name))  # type: ignore[arg-type]  # written by `_write_entry`


def _write_entry(settings: Settings, entry: UnfinishedRun) -> None:
    _folder(settings, entry.run).write_json(_entry_name(entry.model_id), asdict(entry))
