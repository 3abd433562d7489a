"""Loading TensorFlow and Keras, each time in a process that has loaded nothing yet."""

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_keras_is_loaded_without_what_it_can_do_without_and_others_find_it() -> None:
    told = run(
        "import sys\n"
        "from models import frameworks\n"
        "frameworks.load()\n"
        "print('keras' in sys.modules, 'tensorflow' in sys.modules)\n"
        "print(sorted(frameworks.OPTIONAL & set(sys.modules)))\n"
        "print(frameworks._Hidden in map(type, sys.meta_path))\n"
        "import pandas, scipy.stats, sklearn, matplotlib\n"
        "import keras\n"
        "print(keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.ones((1, 2)))).tolist())\n"
    )
    assert told.splitlines() == ["True True", "[]", "False", "[[0.5, 0.5]]"]


def test_what_is_hidden_from_the_loading_thread_is_found_by_others() -> None:
    told = run(
        "import sys, threading\n"
        "from models import frameworks\n"
        "sys.meta_path.insert(0, frameworks._Hidden())\n"
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
    assert told.splitlines() == ["pandas hidden", "pandas"]
