"""All labels, who waits for which, and which pictures would help most.

Where to look:

labels        overview, placement, watch_list: the tree of labels, and who waits for their pictures
needs         wishes, model_confusion: which pictures are wanted, and why
"""
