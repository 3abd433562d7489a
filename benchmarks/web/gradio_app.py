"""The same TFLite model behind Gradio. Another interpreter runs this file: nothing of the hub is imported.

PYTHON gradio_app.py model.tflite labels.txt PORT
"""

import sys
import threading
from pathlib import Path
from typing import Any

import gradio
import numpy as np
from ai_edge_litert.interpreter import Interpreter

local = threading.local()


def predict(image: Any) -> dict[str, float]:
    """Scale a Pillow picture to the model's input, and predict."""
    if not hasattr(local, "interpreter"):
        local.interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
        local.interpreter.allocate_tensors()
    interpreter = local.interpreter
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    side = int(given["shape"][1])
    pixels = np.asarray(image.convert("RGB").resize((side, side)), np.float32)
    interpreter.set_tensor(given["index"], pixels[None])
    interpreter.invoke()
    probabilities = interpreter.get_tensor(wanted["index"])[0]
    return dict(zip(labels, map(float, probabilities), strict=True))


labels = Path(sys.argv[2]).read_text().split()
app = gradio.Interface(predict, gradio.Image(type="pil"), gradio.Label(num_top_classes=5), api_name="predict")
app.launch(server_name="127.0.0.1", server_port=int(sys.argv[3]), quiet=True, share=False)
