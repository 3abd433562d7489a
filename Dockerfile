# The image of all services of docker-compose.yml: Kafka broker, S3 server, Spark master and workers, jobs.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless libnss-wrapper procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 hub \
 && mkdir -p /hub /data && chown hub:hub /hub /data
USER hub
WORKDIR /hub

# Files that set-up depends on are copied first, so that a code change does not invalidate the installed layer.
COPY --chown=hub:hub setup.py constraints.txt ./
COPY --chown=hub:hub conf/ivy.xml conf/
COPY --chown=hub:hub local/setup.sh local/
# Without the tools for tests, the packages' own tests, and the headers and libclang for extensions of TensorFlow in C++.
RUN for package in conf lake local streaming models organize web jobs; do mkdir -p $package && touch $package/__init__.py; done \
 && touch README.md && SETUP_EXTRAS= PIP_NO_CACHE_DIR=1 local/setup.sh spark broker s3 s3server \
 && rm -rf build .venv/lib/python3*/site-packages/tensorflow/include .venv/lib/python3*/site-packages/clang \
 && find .venv/lib/python3*/site-packages -type d -name tests -prune -exec rm -rf {} +
COPY --chown=hub:hub . .

# One SPARK_HOME for drivers and executors, so that both map the archive of Spark's classes, which depends on its path.
ENV PATH=/hub/.venv/bin:$PATH PYTHONUNBUFFERED=1 SPARK_HOME=/hub/spark
RUN mkdir -p spark && ln -s /hub/.venv/lib/python3*/site-packages/pyspark/* spark/ && mkdir -m 1777 spark/work \
 && SETUP_EXTRAS= local/setup.sh spark broker s3 s3server && test -f jars/spark.jsa && rm -rf build

# All that outlives a container is in /data: mount a volume there.
ENV HUB__LAKE__ROOT=/data/lake HUB__LOGS__DIR=/data/logs HUB__BROKER__DIR=/data/broker \
    HUB__SPARK__WORK_DIR=/data/spark HUB__INGEST__INDEX_DIR=/data/index HUB__WEB__DIR=/data/web
# The commit of the code, where the context has no .git: docker compose build --build-arg COMMIT=$(git rev-parse HEAD)
ARG COMMIT=""
ENV HUB_COMMIT=$COMMIT
ENTRYPOINT ["hub"]
CMD ["--help"]
