#!/usr/bin/env bash
# Runs the Kafka broker of docker-compose.yml; formats its data folder on the first start.
set -euo pipefail
kafka=(java "-Xmx${KAFKA_HEAP:-1g}" -XX:+ExitOnOutOfMemoryError
  -Dlog4j2.configurationFile=conf/compose/kafka-log4j2.properties -cp 'jars/broker/*')
settings=conf/compose/kafka.properties
if [ ! -f /data/kafka/meta.properties ]; then
  id=$("${kafka[@]}" kafka.tools.StorageTool random-uuid)
  "${kafka[@]}" kafka.tools.StorageTool format "--cluster-id=$id" --config "$settings"
fi
exec "${kafka[@]}" kafka.Kafka "$settings"
