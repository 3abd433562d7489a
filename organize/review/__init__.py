"""People look at doubtful labels, and decide.

Where to look:

doubt         doubtful, ranking: samples whose label is doubted, and which of them come first
decisions     decisions, decision_file, decision_log: what people decided, recorded and undone
"""
