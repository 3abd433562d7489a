"""From the table to the model: ResNets, distributed training, evaluation, export and prediction."""
