"""Similar pictures of a label and of all labels.

Where to look:

numbers       kmeans, matching: clusters of embeddings and their number; ids that stay from run to run
tables        centroids, assignment, fitting, formation, completion, suggestion, stage: of all samples, and of
              each upload
pictures      contact_sheet: the pictures of a cluster
"""
