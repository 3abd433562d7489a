"""TensorFlow's threads, GPUs, float type, seed and determinism in a training worker."""

from models import tensorflow_import
from models.plan import TrainingPlan


def configure(plan: TrainingPlan, cores: int, gpus: int = 0) -> None:
    """Import and configure TensorFlow, before its first operation.

    Args:
        plan: of the run.
        cores: that this worker may use.
        gpus: assigned to this worker; without any it takes the first GPU of its machine, if there is one.
    """
    tensorflow_import.load()
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[: gpus or 1], "GPU")
    keras.config.set_floatx(plan.floatx)
    keras.utils.set_random_seed(plan.seed)
    if plan.deterministic:
        tf.config.experimental.enable_op_determinism()
