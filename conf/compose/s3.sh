#!/usr/bin/env bash
# Runs the S3 server of docker-compose.yml on a local folder, and creates its bucket.
set -euo pipefail
# A folder that others on this system may read is a bucket that anyone may list, without a key.
umask 077
mkdir -p "/data/s3/$BUCKET"
chmod -R go-rwx /data/s3
# filesystem, because filesystem-nio2 breaks Delta's directory markers
exec java -Xmx512m -Dlogback.configurationFile=conf/compose/s3-logback.xml -cp 'jars/s3server/*' \
  -Djclouds.provider=filesystem -Djclouds.filesystem.basedir=/data/s3 \
  -Ds3proxy.endpoint=http://0.0.0.0:9000 -Ds3proxy.authorization=aws-v2-or-v4 \
  "-Ds3proxy.identity=$AWS_ACCESS_KEY_ID" "-Ds3proxy.credential=$AWS_SECRET_ACCESS_KEY" \
  -Ds3proxy.ignore-unknown-headers=true \
  org.gaul.s3proxy.Main --properties /dev/null
