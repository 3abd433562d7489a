"""The file formats that a trained model is exported to: Keras, SavedModel, TFLite."""
