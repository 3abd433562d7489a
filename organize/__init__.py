"""From a heap of uploads to datasets that can be trusted.

Where to look:

what fails    errors: what cannot be embedded, searched or organized
features      features: embeddings of pictures, from a network with published weights or a model of the hub
index         index: the nearest embeddings of an embedding
on the fly    follow, chunk: streaming queries give each new sample its embedding, group, cluster and score
erasures      unchanged: nothing is written that was computed of images erased meanwhile
duplicates    duplicates: near duplicates, and the groups that they form
clusters      clusters: similar pictures of a label and of all labels
labels        labels, review, wanted: doubtful labels, decisions about them, labels that somebody waits for
splits        splits: each image keeps its split; near duplicates, users or labels are in one split
datasets      datasets: samples written as Parquet shards with a manifest; cards and exports
label checks  label_check, deep_check, fold_training: both tiers, and folds whose networks judge
on demand     demand, similar: `hub train --labels` reuses an existing dataset and model; `hub similar`
"""
