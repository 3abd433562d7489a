"""Schedule, resnets, inputs, evaluation, messages and checkpoints: worked out on paper."""

import os
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from typing import Any

import numpy as np
import pytest

from conf.errors import UsageError
from conf.settings import Settings
from lake.errors import UnknownDataset
from lake.snapshot import Split
from lake.storage import Storage
from models import messages
from models.errors import NotTrainable
from models.evaluation import artifacts, plots
from models.evaluation.metrics import evaluate
from models.messages import Disconnected, Done, EpochEnded, Failed, Registered, Started, Stepped
from models.nets import schedule
from models.pictures import inputs
from models.pictures.inputs import BatchSchedule, RowRange, evaluation_rows, training_rows
from models.plan import TrainingPlan
from models.runs.preflight import check_trainable
from models.runs.run_state import RunState
from models.runs.train import train
from models.workers.checkpoints import Checkpoint, Checkpoints
from models.workers.message_channel import MessageServer, Reporter
from models.workers.worker_failures import FailureKind
from tests.support import tiny


def test_learning_rate_climbs_to_its_peak_and_falls_by_a_half_cosine() -> None:
    assert schedule.peak(0.1, 256) == pytest.approx(0.2)
    rates = schedule.rates(steps=8, warmup=4, top=1.0)
    # 4 steps of climb, then (1 + cos(pi k / 4)) / 2 for k = 0..3
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_warm_up_never_takes_more_than_half_of_a_run() -> None:
    assert max(schedule.rates(steps=4, warmup=100, top=1.0)) == 1


@pytest.mark.parametrize("rows", [1, 7, 64, 1437])
@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_workers_share_rows_without_overlap_and_take_equal_steps(rows: int, workers: int) -> None:
    if rows >= workers:
        shares = [training_rows(rows, worker, workers) for worker in range(workers)]
        assert {len(share) for share in shares} == {rows // workers}
        taken = [row for share in shares for row in range(share.start, share.stop)]
        assert len(set(taken)) == len(taken) and max(taken) < rows
        pace = BatchSchedule.of(rows, workers, 32)
        assert pace.steps >= 1 and pace.steps * pace.batch <= rows // workers
    measured = [evaluation_rows(rows, worker, workers) for worker in range(workers)]
    assert [row for share in measured for row in range(share.start, share.stop)] == list(range(rows))


def test_a_worker_with_few_rows_takes_them_all_at_once() -> None:
    assert BatchSchedule.of(rows=20, workers=2, batch_size=32) == BatchSchedule(batch=10, steps=1)
    assert BatchSchedule.of(rows=50, workers=2, batch_size=15, group=4) == BatchSchedule(batch=12, steps=2)
    with pytest.raises(NotTrainable, match=r"each of 2 workers has 3 training pictures, .* need 4 or more"):
        BatchSchedule.of(rows=7, workers=2, batch_size=64, group=4)


def test_measured_batches_weigh_padding_nothing(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "measured", (8, 0, 5))
    pictures = inputs.read_pictures(snapshot, Split.TEST, RowRange(0, 5), 32)
    assert pictures.images.shape == (5, 36, 36, 3) and pictures.image_ids[4] == "test-4"
    weights = [weights.tolist() for _, _, weights in inputs.evaluation_batches(pictures, 32, 3)]
    assert weights == [[1, 1, 1], [1, 1, 0]]


def test_prediction_sees_the_pixels_that_measuring_sees(settings: Settings) -> None:
    snapshot = tiny.snapshot(settings, "pixels", (1, 0, 1))
    pictures = inputs.read_pictures(snapshot, Split.TEST, RowRange(0, 1), 32)
    jpeg = next(iter(snapshot.batches(Split.TEST, 0, 1)))["jpeg"][0].as_py()
    (measured,) = (images[0] for images, _, _ in inputs.evaluation_batches(pictures, 32, 1))
    assert np.array_equal(inputs.decode_centre_crop(jpeg, 32), measured)


def test_servers_enlarge_no_more_than_the_hub_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from models.formats.serving_signature import prepare_picture

    resize, sizes = tf.image.resize, []

    def recorded(rgb: Any, size: Any, method: str) -> Any:
        sizes.append(size.numpy().tolist())
        return resize(rgb, size, method=method)

    monkeypatch.setattr(tf.image, "resize", recorded)
    columns = np.random.default_rng(1).integers(0, 256, (1, 3000, 3), dtype=np.uint8)
    for picture in (columns, columns.transpose(1, 0, 2), np.tile(columns, (2, 1, 1))):
        content = tf.io.encode_png(picture)
        apart = np.abs(
            prepare_picture(content, 32).numpy()
            - inputs.decode_centre_crop(content.numpy(), 32).astype(float)
        )
        assert apart.max() <= 1
    assert sizes == [[36, 144], [144, 36], [36, 144]]


def test_scores_worked_out_on_paper() -> None:
    true = np.array([0, 0, 0, 1, 1, 2], np.int32)
    predicted = np.array([0, 0, 1, 1, 1, 0], np.int32)
    sure = np.array([0.9, 0.8, 0.6, 0.9, 0.9, 0.7])
    found = evaluate(("a", "b", "c"), tuple("uvwxyz"), true, predicted, sure)
    assert found.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found.accuracy == pytest.approx(4 / 6)
    a, b, c = found.per_class
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert (b.precision, b.recall, b.f1) == pytest.approx((2 / 3, 1, 0.8))
    assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 1)
    assert [mistake.image_id for mistake in found.mistakes] == ["z", "w"]  # the surest first
    assert artifacts.report(found)["confusion"] == found.confusion.tolist()
    assert plots.confusion_matrix(found, "m").startswith(b"\x89PNG")


def test_nothing_to_test_on_has_no_accuracy() -> None:
    none = np.array([], np.int32)
    found = evaluate(("a", "b"), (), none, none, np.array([]))
    assert found.accuracy is None
    assert plots.confusion_matrix(found, "m").startswith(b"\x89PNG")


EPOCH = EpochEnded(0, 1, 0.5, 0.8, None, None, 0.1, 2.0, 100.0)


def test_curves_are_drawn_without_validation() -> None:
    assert plots.curves([EPOCH]).startswith(b"\x89PNG")


def test_messages_arrive_as_they_were_sent() -> None:
    failed = Failed(1, "the loss is nan", FailureKind.DIVERGED)
    for message in (Started(1, 2, 3, 4, 0), Stepped(0, 1, 2, 3.5, 0.1, 0.2), EPOCH, Done(1), failed):
        assert messages.decode(messages.encode(message)) == message


def test_the_server_accepts_messages_only_from_clients_that_know_the_key() -> None:
    server = MessageServer("127.0.0.1")

    def intrude() -> None:
        with pytest.raises((AuthenticationError, OSError, EOFError)):
            Client(("127.0.0.1", server.port), authkey=b"guess").recv_bytes()

    stranger = threading.Thread(target=intrude)
    stranger.start()
    stranger.join(10)
    with Reporter(("127.0.0.1", server.port), server.authkey, 3) as reporter:
        reporter.send(Done(3))
        received = [server.receive(10), server.receive(10)]
    first, second = (each.message if each else None for each in received)
    assert isinstance(first, Registered) and first.pid == os.getpid() and second == Done(3)
    assert server.receive(0) is None
    server.close()


def test_the_first_cause_wins_over_its_consequences() -> None:
    state = RunState(workers=2, began=0)
    state.add(Failed(0, "UnavailableError: peer", FailureKind.PEER), 1)
    state.add(Failed(1, "ValueError: first", FailureKind.FINAL), 2)
    state.add(Failed(0, "ValueError: second", FailureKind.FINAL), 3)
    assert state.failure and state.failure.cause == "ValueError: first"


def test_a_lost_worker_is_named_although_spark_knew_first() -> None:
    state = RunState(workers=2, began=0)
    state.failure = Failed(-1, "Spark lost a worker: ExecutorLostFailure", FailureKind.LOST)
    state.add(Failed(0, "UnavailableError: peer", FailureKind.PEER), 1)
    assert state.failure.worker == -1
    state.add(Disconnected(1), 2)
    assert state.failure.worker == 1 and "ended without an error message" in state.failure.cause
    state.add(Disconnected(0), 3)
    assert state.failure.worker == 1


def test_a_worker_that_ends_after_spark_has_given_up_is_not_the_cause() -> None:
    state = RunState(workers=2, began=0)
    state.failure = Failed(-1, "SparkException: given up", FailureKind.FINAL)
    state.add(Disconnected(1), 1)
    assert state.failure.kind == FailureKind.FINAL


def test_checkpoints_keep_the_newest_two_and_skip_a_damaged_one(settings: Settings) -> None:
    storage = Storage(settings.lake.at("checkpoints-test"), settings.s3)
    checkpoints = Checkpoints(storage)
    assert checkpoints.newest() is None
    for epochs in (1, 2, 3):
        checkpoints.write(Checkpoint(epochs, (np.full(3, epochs), np.array(0.5))))
    assert checkpoints.epochs() == [2, 3]
    newest = checkpoints.newest()
    assert newest and newest.epochs == 3 and newest.values[0].tolist() == [3, 3, 3]
    storage.write("epoch-00003/variables.npz", storage.read("epoch-00003/variables.npz")[:200])
    older = checkpoints.newest()
    assert older and older.epochs == 2


def test_an_untrainable_plan_is_refused_before_any_cluster_starts(
    settings: Settings,
) -> None:
    snapshot = tiny.snapshot(settings, "unfit")

    def plan(dataset_id: str = "unfit", workers: int = 2, **given: Any) -> TrainingPlan:
        return TrainingPlan.of(settings, dataset_id, workers, **given)

    unknown = {"architecture": "vgg"}
    for wrong in ({"workers": 0}, {"epochs": 0}, {"batch_size": -1}, unknown, {"seed": -1}, {"seed": 2**32}):
        with pytest.raises(UsageError):
            check_trainable(plan(**wrong), snapshot)
    check_trainable(plan(seed=2**32 - 1), snapshot)
    with pytest.raises(NotTrainable, match="--workers 300 is more than the 256 training pictures"):
        check_trainable(plan(workers=300), snapshot)
    lonely = tiny.snapshot(settings, "lonely", (8, 0, 0), labels=("across",))
    with pytest.raises(NotTrainable, match=r"has 1 label \(across\)"):
        check_trainable(plan(), lonely)
    with pytest.raises(UnknownDataset, match=r"no dataset 'nowhere': there are .*unfit"):
        train(settings, plan(dataset_id="nowhere"))
