# One image for every service of docker-compose.yml: broker, S3 server, Spark master and workers, jobs.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 hub \
 && mkdir -p /hub /data && chown hub:hub /hub /data
USER hub
WORKDIR /hub

# What set-up depends on comes first, so that a change to the code does not install everything anew.
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
