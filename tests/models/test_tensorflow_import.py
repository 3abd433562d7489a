"""Loading TensorFlow and Keras, each time in a process that has loaded nothing yet."""

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
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
