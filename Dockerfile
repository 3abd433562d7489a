# The image of all services of docker-compose.yml: Kafka broker, S3 server, Spark master and workers, jobs.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 hub \
 && mkdir -p /hub /data && chown hub:hub /hub /data
USER hub
WORKDIR /hub

# Files that set-up depends on are copied first, so that a code change does not invalidate the installed layer.
COPY --chown=hub:hub setup.py constraints.txt README.md ./
COPY --chown=hub:hub conf/ivy.xml conf/
COPY --chown=hub:hub local/setup.sh local/
RUN for package in conf lake local streaming models organize web jobs; do mkdir -p $package && touch $package/__init__.py; done \
 && PIP_NO_CACHE_DIR=1 local/setup.sh spark broker s3 s3server \
 && rm -rf build
COPY --chown=hub:hub . .

ENV PATH=/hub/.venv/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["hub"]
CMD ["--help"]
