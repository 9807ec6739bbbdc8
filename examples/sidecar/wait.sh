#!/bin/sh
# Ask the sidecar to wait for a task, and print how the wait ended: wait.sh TASK_ID
# SIDECAR is its address, http://127.0.0.1:8080 unless set.
set -eu

sidecar=${SIDECAR:-http://127.0.0.1:8080}
curl --fail-with-body --silent --show-error --output /dev/null --json "{\"tasks\": [\"$1\"]}" "$sidecar/v1/waits"

while :; do
  wait=$(curl --fail-with-body --silent --show-error "$sidecar/v1/waits/$1?wait=60s")
  case $wait in
    *'"status":"waiting"'*) ;;
    *) break ;;
  esac
done
printf '%s\n' "$wait"
case $wait in
  *'"status":"finished"'*) ;;
  *) exit 1 ;;
esac
