"""Labels that models doubt.

Where to look:

first tier    folds, probe, neighbours, judgement: which labels a probe of embeddings doubts
second tier   model_scores, model_check: which labels a model of the hub doubts (`organize.deep_check` trains)
tables        judged_samples, check, verdicts: of all samples
as they come  scorer, scoring, stage: of each upload as it arrives
"""
