"""From the table to the model: ResNets, distributed training, evaluation, export and prediction.

Where to look, from the command inwards:

asked for     plan, checks, overlap, demand, resumption: what is asked, refused, or there already
driver        run, course, report, record, cluster, launch, progress, messages, watch, bar: begun and told
worker        training, worker, checkpoints, starts, failures: epochs, and what is kept
process       frameworks, libraries, native, processor: TensorFlow's, what it loads, says and takes
network       resnet, normalization, weights, losses, triplet, schedule, precision, learner: what learns
input         inputs, spool, epochs, augment, sampling: from a snapshot's rows to batches
measured      evaluation, testing, calibration, intervals, verification, plots, sheet: how good it is
files         artifacts, export, served, metadata, delivery: the formats a model leaves in
used          prediction, bulk: labels for files, folders and tables
known         registry, cards, catalogue, errors: which models there are, and which one is in use
"""
