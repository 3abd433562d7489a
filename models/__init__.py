"""From the dataset to the model: ResNets, distributed training, evaluation, export and prediction.

Where to look, from the command inwards:

request       plan, architectures, errors: the settings of a training run, and what can go wrong
driver        runs, messages: checks, the cluster, messages from workers, resumption
worker        workers: the training loop, checkpoints, initial weights
network       nets: ResNets, MobileNetV2, EfficientNet-Lite0, normalization, losses, learning rates
input         pictures: from the rows of a dataset snapshot to batches
quality       evaluation: metrics, retrieval, confidence intervals, calibration, contact sheets
files         formats, registry: export formats, published weights, model cards and the `models` table
inference     inference: prediction, batch inference, repeated evaluation, the model in use
process       tensorflow_import, preload, cpu_time: what this process loads and uses
"""

from models import tensorflow_import

# Here, because any module of this package may be the first to import Keras.
tensorflow_import.set_keras_defaults()
