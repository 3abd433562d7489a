"""Loading TensorFlow and Keras, each time in a process that has loaded nothing yet."""

import os
import subprocess
import sys
from pathlib import Path


def run(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_keras_is_loaded_without_optional_packages_and_later_imports_find_them() -> None:
    output = run(
        "import sys\n"
        "from models import tensorflow_import\n"
        "tensorflow_import.load()\n"
        "print('keras' in sys.modules, 'tensorflow' in sys.modules)\n"
        "print(sorted(tensorflow_import.OPTIONAL & set(sys.modules)))\n"
        "print(tensorflow_import._OptionalPackagesHidden in map(type, sys.meta_path))\n"
        "import pandas, scipy.stats, sklearn, matplotlib\n"
        "import keras\n"
        "print(keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.ones((1, 2)))).tolist())\n"
    )
    assert output.splitlines() == ["True True", "[]", "False", "[[0.5, 0.5]]"]


def test_packages_hidden_from_the_loading_thread_are_found_by_other_threads() -> None:
    output = run(
        "import sys, threading\n"
        "from models import tensorflow_import\n"
        "sys.meta_path.insert(0, tensorflow_import._OptionalPackagesHidden())\n"
        "def other():\n"
        "    import pandas\n"
        "    print(pandas.__name__)\n"
        "try:\n"
        "    import pandas\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error.name, 'hidden')\n"
        "thread = threading.Thread(target=other)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    assert output.splitlines() == ["pandas hidden", "pandas"]


HOSTILE = '{"floatx": "float16", "epsilon": 0.5, "backend": "jax", "image_data_format": "channels_first"}'


def test_keras_is_the_hub_s_own_whatever_the_machine_says(tmp_path: Path) -> None:
    """Any module of the package may be the first to import it."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(HOSTILE)
    output = run(
        "import models, keras\n"
        "from keras import config\n"
        "print(config.backend(), config.floatx(), config.epsilon(), config.image_data_format())\n"
        "print(config.max_epochs())\n"
        "import tensorflow as tf\n"
        "print(tf.keras.__version__ == keras.__version__)",
        HOME=str(tmp_path), KERAS_HOME=str(tmp_path / ".keras"), KERAS_BACKEND="torch",
        TF_USE_LEGACY_KERAS="1", KERAS_MAX_EPOCHS="1",
    )  # fmt: skip
    assert output.splitlines() == ["tensorflow float32 1e-07 channels_last", "None", "True"]
