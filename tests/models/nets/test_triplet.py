"""Triplet loss, sampling and verification, worked out on paper; then a run of one worker."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.choices import SplitBy
from conf.errors import UsageError
from conf.sections import Lake
from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from models import messages
from models.errors import NotTrainable
from models.evaluation import artifacts, retrieval
from models.evaluation.retrieval import evaluate_retrieval, gallery_rows
from models.formats.export import KERAS, SAVED_MODEL, TFLITE
from models.messages import Done
from models.nets import verification
from models.nets.verification import Embeddings
from models.pictures import sampling
from models.pictures.inputs import BatchSchedule, RowRange, evaluation_batches, read_pictures
from models.plan import TrainingPlan, WorkerTask
from models.registry import model_cards
from models.runs.preflight import check_trainable
from models.runs.run_report import ModelQuality
from models.runs.run_state import RunState
from models.runs.train import TrainedModel
from models.workers.message_channel import MessageServer, Reporter
from tests.support import tiny


def on_circle(*degrees: float) -> Any:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def apart(one: float, other: float) -> float:
    """Squared distance of two vectors of length 1 at these angles (degrees)."""
    return float(2 - 2 * np.cos(np.radians(one - other)))


def test_the_loss_takes_the_nearest_negative_that_is_farther_than_the_positive() -> None:
    from models.nets import triplet

    # Label 0 at 0° and 20°, label 1 at 10° and 60°.
    labels = np.array([0, 0, 1, 1], np.int32)
    found = np.asarray(triplet.losses(on_circle(0, 20, 10, 60), labels, 0.5))
    expected = [
        # 0°: the negative at 10° is nearer than the positive at 20°, so 60° is taken, beyond the margin.
        max(apart(0, 20) - apart(0, 60) + 0.5, 0),
        max(apart(20, 0) - apart(20, 60) + 0.5, 0),
        # 10°: both negatives (10° away) are nearer than the positive (50° away): the farthest of them.
        apart(10, 60) - apart(10, 20) + 0.5,
        # 60°: the negative at 20° (40° away) is nearer than the positive (50° away), the one at 0° is not.
        apart(60, 10) - apart(60, 0) + 0.5,
    ]
    assert expected[0] == 0 and expected[1] > 0
    assert found == pytest.approx(np.array(expected, np.float32), abs=1e-5)


def test_pictures_without_a_positive_or_a_negative_have_no_loss() -> None:
    from models.nets import triplet

    vectors = on_circle(0, 5, 90)
    assert np.asarray(triplet.losses(vectors, np.array([0, 0, 0], np.int32), 0.2)).tolist() == [0, 0, 0]
    assert np.asarray(triplet.losses(vectors, np.array([0, 1, 2], np.int32), 0.2)).tolist() == [0, 0, 0]


def test_a_picture_is_right_when_its_nearest_has_its_label() -> None:
    from models.nets import triplet

    vectors = on_circle(0, 10, 25, 100)
    # 0° → 10°, 10° → 0°, 25° → 10°, 100° → 25°
    assert float(triplet.count_correct(vectors, np.array([0, 0, 1, 1], np.int32))) == 3
    assert float(triplet.count_correct(vectors, np.array([0, 0, 0, 1], np.int32))) == 3
    assert float(triplet.count_correct(vectors, np.array([0, 0, 0, 0], np.int32))) == 4
    assert float(triplet.count_correct(vectors, np.array([0, 1, 1, 0], np.int32))) == 1


def test_every_batch_has_per_label_pictures_of_each_of_its_labels() -> None:
    labels = np.repeat(np.arange(7, dtype=np.int32), [20, 3, 1, 8, 8, 2, 8])
    rows = sampling.sample_label_groups(labels, 50, 12, 4, np.random.default_rng(1))
    assert rows.shape == (50, 12) and rows.dtype == np.int32
    for batch in labels[rows]:
        names, counts = np.unique(batch, return_counts=True)
        assert counts.tolist() == [4, 4, 4] and 2 not in names  # label 2 has no pair
    assert set(rows.ravel()) == set(range(50)) - {23}  # every picture of the other labels was drawn
    again = sampling.sample_label_groups(labels, 50, 12, 4, np.random.default_rng(1))
    assert np.array_equal(rows, again)


def test_fewer_labels_than_groups_are_repeated_so_that_batches_keep_their_size() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1], np.int32)
    rows = sampling.sample_label_groups(labels, 3, 8, 2, np.random.default_rng(1))
    assert [np.bincount(batch).tolist() for batch in labels[rows]] == [[4, 4]] * 3


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_every_worker_takes_the_same_steps_of_whole_groups(workers: int) -> None:
    schedule = BatchSchedule.of(250, workers, 30, group=4)
    assert schedule.batch == 28 and schedule.steps == 250 // workers // 28
    assert BatchSchedule.of(22, 2, 30, group=4) == BatchSchedule(8, 1)


def test_a_threshold_makes_the_fewest_mistakes() -> None:
    distances = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.9])
    same = np.array([True, True, False, True, False, False])
    # After 0.2: one mistake (0.5). After 0.5: one mistake (0.3). The first is taken, half way to the next.
    assert verification.best_threshold(distances, same) == pytest.approx(0.25)
    assert verification.best_threshold(distances, ~same) in (0.0, pytest.approx(0.9 + 1e-6))
    assert verification.best_threshold(distances, np.ones(6, bool)) > 0.9


def test_half_of_the_pairs_share_a_label_and_the_draw_is_repeatable() -> None:
    labels = np.arange(60, dtype=np.int32) % 5
    found = verification.draw_pairs(labels, 3)
    same = labels[found[:, 0]] == labels[found[:, 1]]
    assert same.sum() * 2 == len(found) == 2 * 5 * (12 * 11 // 2)
    assert len({tuple(sorted(pair)) for pair in found.tolist()}) == len(found)
    assert np.array_equal(found, verification.draw_pairs(labels, 3))
    assert len(verification.draw_pairs(np.arange(9, dtype=np.int32), 3)) == 0


def test_the_threshold_is_chosen_on_validation_and_its_accuracy_measured_on_test() -> None:
    ids = tuple("abcd")
    labels = np.array([0, 0, 1, 1], np.int32)
    validation = Embeddings(ids, labels, on_circle(0, 10, 90, 100))
    test = Embeddings(ids, labels, on_circle(0, 10, 20, 120))
    found = verification.verify(validation, test, 1)
    assert found and found.pairs == 4
    # Validation: same pairs are 10° apart, others 80° and more; the threshold lies between.
    assert apart(0, 10) < found.threshold < apart(0, 80) + 1e-6
    # Test: 0°/10° is correct, 20°/120° counts as different; 10°/20° is as near as 0°/10° and wrong.
    chosen = verification.draw_pairs(labels, 1)
    degrees = (0, 10, 20, 120)
    right = [
        (apart(degrees[a], degrees[b]) < found.threshold) == (labels[a] == labels[b])
        for a, b in chosen.tolist()
    ]
    assert found.accuracy == np.mean(right)
    assert verification.verify(Embeddings((), labels[:0], on_circle()), test, 1) is None


def test_nearest_neighbours_do_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = on_circle(*np.random.default_rng(2).uniform(0, 360, 50))
    positions, squared = verification.nearest_neighbours(vectors)
    gallery = on_circle(*np.random.default_rng(3).uniform(0, 360, 30))
    in_gallery, _ = verification.nearest_neighbours(vectors, gallery)
    monkeypatch.setattr(verification, "CHUNK_CELLS", 7 * 50)
    chunked, _ = verification.nearest_neighbours(vectors)
    assert np.array_equal(positions, chunked)
    assert np.array_equal(in_gallery, verification.nearest_neighbours(vectors, gallery)[0])
    assert np.array_equal(in_gallery, ((vectors[:, None] - gallery[None]) ** 2).sum(-1).argmin(axis=1))
    every = ((vectors[:, None] - vectors[None]) ** 2).sum(-1) + np.eye(50) * 9
    assert np.array_equal(positions, every.argmin(axis=1)) and squared == pytest.approx(
        every.min(axis=1), abs=1e-5
    )


def test_one_test_picture_has_no_nearest_and_the_summary_says_so() -> None:
    from jobs.evaluate import summary

    single = Embeddings(("a",), np.array([1], np.int32), on_circle(0))
    found = evaluate_retrieval(("cat", "dog"), single, None)
    assert (found.accuracy, found.left_out) == (None, 1)
    assert summary(found).splitlines()[-1] == "retrieval at 1 – (no test pictures to compare)"


def test_a_test_picture_is_compared_with_train_and_validation() -> None:
    """Five people with one test picture each: none has another test picture to be near to."""
    from jobs.evaluate import summary

    people = np.arange(5, dtype=np.int32)
    names = tuple("abcde")
    gallery = Embeddings(tuple("0123456789"), np.repeat(people, 2), on_circle(*range(0, 100, 10)))
    # The test pictures of a, b and c are near to theirs (0° to 50°), d's is near to a's, e's to b's.
    queries = Embeddings(("p", "q", "r", "s", "t"), people, on_circle(3, 24, 49, 1, 28))
    found = evaluate_retrieval(names, queries, gallery)
    assert (found.accuracy, found.pictures, found.left_out) == (0.6, 5, 0)
    assert [(m.image_id, m.label, m.predicted, m.row) for m in found.mistakes] == [
        ("s", "d", "a", 3),
        ("t", "e", "b", 4),
    ]
    assert summary(found).splitlines()[-1] == (
        "protocol the nearest of 10 pictures of train and validation has the label of the test picture"
    )
    alone = evaluate_retrieval(names, queries, None)
    assert (alone.accuracy, alone.pictures, alone.left_out) == (None, 0, 5)


def test_pictures_without_another_of_their_label_are_left_out_and_still_found() -> None:
    """Worked out on paper: d is the nearest of b (a mistake), and has nothing to find itself."""
    from jobs.evaluate import summary

    labels = np.array([0, 0, 1, 0], np.int32)
    queries = Embeddings(("a", "b", "d", "c"), labels, on_circle(0, 40, 45, 5))
    found = evaluate_retrieval(("x", "y"), queries, None)
    assert (found.pictures, found.left_out) == (3, 1)
    assert found.accuracy == pytest.approx(2 / 3)
    assert [(m.image_id, m.predicted, m.row) for m in found.mistakes] == [("b", "y", 1)]
    assert artifacts.report(found)["left_out"] == 1
    assert "the other test pictures" in str(artifacts.report(found)["protocol"])
    assert "left out 1 test pictures" in summary(found)
    missing = evaluate_retrieval(("x", "y"), queries, Embeddings(("g",), labels[:1], on_circle(41)))
    assert (missing.pictures, missing.left_out, missing.accuracy) == (3, 1, 1.0)


def test_embeddings_are_sent_as_messages() -> None:
    one = Embeddings(("a", "b"), np.array([0, 1], np.int32), on_circle(1, 2))
    none = Embeddings((), np.zeros(0, np.int32), np.zeros((0, 2), np.float32))
    sent = [
        messages.decode(messages.encode(messages.pack_embeddings(0, "test", part))) for part in (none, one)
    ]
    run_state = RunState(2, 0)
    for message in (*sent, messages.pack_embeddings(1, "validation", one)):
        run_state.add(message, 1)
    assert np.array_equal(
        messages.unpack_embeddings([messages.pack_embeddings(0, "test", one)] * 2).vectors[2:], one.vectors
    )
    assert run_state.embeddings("test").image_ids == ("a", "b")
    assert np.array_equal(run_state.embeddings("validation").vectors, one.vectors)


@pytest.fixture(scope="module")
def snapshot(settings: Settings) -> DatasetSnapshot:
    return tiny.snapshot(settings, "triplets", (128, 33, 41))


def plan(settings: Settings, **given: Any) -> TrainingPlan:
    chosen: dict[str, Any] = {"epochs": 3, "batch_size": 32, "warmup_epochs": 1.0, "objective": "triplet"}
    chosen |= given
    return TrainingPlan.of(settings, "triplets", chosen.pop("workers", 1), **chosen)


@pytest.fixture(scope="module")
def run_state(settings: Settings, snapshot: DatasetSnapshot) -> RunState:
    """The messages of one worker's run, without a cluster."""
    from models.workers.worker import Worker

    server = MessageServer("127.0.0.1")
    task = WorkerTask(
        replace(plan(settings), pixels="unit", embedding=16),
        "triplet-run",
        snapshot,
        model_cards.artifact_storage(settings, "triplet-run"),
        ("127.0.0.1", server.port),
        server.authkey,
    )
    found = RunState(1, 0)
    with Reporter(task.address, task.authkey) as reporter:
        worker = Worker(task, 0, reporter)
        worker.train()
        worker.finish()
        reporter.send(Done(0, 0.0))
        while not isinstance(received := server.receive(30), type(None)):
            found.add(received.message, received.at)
            if isinstance(received.message, Done):
                break
    server.close()
    return found


def trained_model(run_state: RunState, plan: TrainingPlan, snapshot: DatasetSnapshot) -> TrainedModel:
    from models.runs.train import _trained_model

    return _trained_model(run_state, ModelQuality.of(run_state, plan, snapshot), plan, "triplet-run", "", 0.0)


def test_pictures_of_one_label_have_near_embeddings(
    run_state: RunState, settings: Settings, snapshot: DatasetSnapshot
) -> None:
    trained = trained_model(run_state, plan(settings), snapshot)
    assert trained.evaluation.accuracy and trained.evaluation.accuracy >= 0.9
    assert trained.verification and trained.verification.accuracy and trained.verification.accuracy >= 0.85
    assert trained.metrics["retrieval_at_1"] == trained.evaluation.accuracy
    assert trained.metrics["verification_accuracy"] == trained.verification.accuracy
    assert "test_accuracy" not in trained.metrics and "validation_accuracy" in trained.metrics
    assert all(row.validation_loss is None for row in trained.history)
    assert trained.evaluation.protocol.startswith("the nearest of 161 pictures of train and validation")
    assert run_state.embeddings("train").vectors.shape == (128, 16)
    vectors = run_state.embeddings("test").vectors
    assert vectors.shape == (41, 16) and np.linalg.norm(vectors, axis=1) == pytest.approx(
        np.ones(41), abs=1e-5
    )


def test_exported_models_return_the_same_embeddings(
    run_state: RunState, settings: Settings, snapshot: DatasetSnapshot, tmp_path: Path
) -> None:
    import keras
    import tensorflow as tf

    model_cards.artifact_storage(settings, "triplet-run").download(tmp_path)
    images = next(evaluation_batches(read_pictures(snapshot, Split.TEST, RowRange(0, 41), 32), 32, 41))[
        0
    ].astype(np.float32)
    expected = run_state.embeddings("test").vectors
    assert np.abs(np.asarray(keras.models.load_model(tmp_path / KERAS)(images)) - expected).max() < 1e-4
    loaded = tf.saved_model.load(str(tmp_path / SAVED_MODEL))
    served = loaded.signatures["pixels"](tf.constant(images))["embeddings"]
    assert np.abs(served.numpy() - expected).max() < 1e-4
    phone = tf.lite.Interpreter(str(tmp_path / TFLITE))
    (taken,), (given,) = phone.get_input_details(), phone.get_output_details()
    phone.resize_tensor_input(taken["index"], images.shape)
    phone.allocate_tensors()
    phone.set_tensor(taken["index"], images)
    phone.invoke()
    assert np.abs(phone.get_tensor(given["index"]) - expected).max() < 1e-3


def test_an_embedding_model_can_be_evaluated_again_but_not_used_for_labels(
    run_state: RunState, settings: Settings, snapshot: DatasetSnapshot, tmp_path: Path
) -> None:
    from models.inference import prediction
    from models.inference.distributed_evaluation import evaluate_model

    trained = trained_model(run_state, plan(settings), snapshot)
    storage = model_cards.artifact_storage(settings, "triplet-run")
    storage.write_json(artifacts.METRICS, trained.metrics)
    card = model_cards.ModelCard("triplet-run", "triplets", "resnet20", 32, snapshot.labels, "triplet")
    model_cards.write_card(settings, card)
    again = evaluate_model(settings, "triplet-run")
    assert (again.accuracy, again.protocol) == (trained.evaluation.accuracy, trained.evaluation.protocol)
    assert storage.read_json(artifacts.EVALUATION)["protocol"] == again.protocol
    files = tiny.folder(tmp_path / "pictures", 1)
    with pytest.raises(UsageError, match="model triplet-run outputs embeddings, not labels"):
        prediction.predict_paths(settings, "triplet-run", files)


def test_triplets_that_cannot_be_formed_are_refused(settings: Settings, snapshot: DatasetSnapshot) -> None:
    check_trainable(plan(settings, workers=3), snapshot)
    for given, kind, cause in (
        ({"objective": "faces"}, UsageError, "--objective faces: must be one of labels, triplet"),
        ({"mixup": 0.2}, UsageError, "train.mixup = 0.2 has no meaning with --objective triplet"),
        ({"label_smoothing": 0.1}, UsageError, "train.label_smoothing = 0.1 has no meaning"),
        ({"batch_size": 7}, UsageError, "--batch-size 7: for --objective triplet it must be 8 or more"),
        (
            {"workers": 20},
            NotTrainable,
            "--workers 20 leaves worker 0 6 pictures, too few for triplets of 2 labels",
        ),
    ):
        with pytest.raises(kind, match=cause):
            check_trainable(plan(settings, **given), snapshot)


def split_by_label(settings: Settings) -> DatasetSnapshot:
    """Six labels, two in each split."""
    random = np.random.default_rng(3)
    pictures = {
        split: [
            (f"{split}-{n}", 2 * part + n % 2, tiny.jpeg(tiny.picture(2 * part % 4 + n % 2, random)))
            for n in range(count)
        ]
        for part, (split, count) in enumerate(zip(Split, (64, 12, 13), strict=True))
    }
    labels = tuple(f"person-{n}" for n in range(6))
    return tiny.write_snapshot(settings, "triplets", labels, pictures, split_by=SplitBy.LABEL)


def test_a_dataset_that_is_split_by_label_trains_triplets_only(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
    unseen = split_by_label(own)
    check_trainable(plan(own), unseen)
    with pytest.raises(NotTrainable, match=r"triplets is split by label: .*only --objective triplet") as told:
        check_trainable(plan(own, objective="labels"), unseen)
    assert "\n" not in str(told.value)
    with pytest.raises(NotTrainable, match="no training pictures of person-2"):
        check_trainable(plan(own), replace(unseen, filter={}))


def test_labels_that_training_has_not_seen_are_compared_among_themselves(
    settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"lake": Lake(root=str(tmp_path))})
    unseen, state = split_by_label(own), RunState(1, 0)
    for part, split in enumerate((Split.VALIDATION, Split.TEST), start=1):
        labels = np.array([2 * part, 2 * part, 2 * part + 1, 2 * part + 1], np.int32)
        found = Embeddings(tuple("abcd"), labels, on_circle(0, 9, 90, 99))
        state.add(messages.pack_embeddings(0, split, found), 1)
    quality = ModelQuality.of(state, plan(own), unseen)
    assert (quality.evaluation.accuracy, quality.evaluation.pictures) == (1.0, 4)
    assert "the other test pictures" in quality.evaluation.protocol
    assert quality.verification and quality.verification.accuracy == 1.0
    assert gallery_rows(unseen) == {}


def test_the_gallery_has_all_of_validation_and_a_bounded_part_of_train(
    snapshot: DatasetSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gallery_rows(snapshot) == {Split.VALIDATION: 33, Split.TRAIN: 128}
    monkeypatch.setattr(retrieval, "GALLERY_PICTURES", 100)
    assert gallery_rows(snapshot) == {Split.VALIDATION: 33, Split.TRAIN: 100}


def test_snapshots_without_validation_or_with_labels_missing_are_refused(settings: Settings) -> None:
    bare = tiny.snapshot(settings, "no-validation", (8, 0, 4))
    with pytest.raises(NotTrainable, match="dataset triplets has no validation pictures"):
        check_trainable(plan(settings, objective="labels"), bare)
    missing = tiny.snapshot(settings, "missing", (2, 4, 4))
    with pytest.raises(NotTrainable, match="no training pictures of green, red: organize"):
        check_trainable(plan(settings, objective="labels"), missing)
