#!/bin/sh
# Create an instance, wait until it exists, and use its ID; each exit code has its own handling.
# Environment: GCORE_API_KEY, and INSTANCES_URL such as https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID;
# WAIT_TIMEOUT, the longest time to wait, is 30m unless set.
set -eu

started=$(curl --fail-with-body --silent --show-error \
  --header "Authorization: APIKey $GCORE_API_KEY" \
  --header "Content-Type: application/json" \
  --data @instance.json \
  "$INSTANCES_URL")

status=0
instance=$(printf '%s' "$started" |
  waiter wait - --timeout "${WAIT_TIMEOUT:-30m}" --output text --query 'created_resources.instances[0]') || status=$?

case $status in
  0) echo "The new instance is $instance" ;;
  1) echo "The task failed; the lines above name what to clean up." >&2 ;;
  5 | 6 | 124) echo "The task may still be running: resume with the command printed above." >&2 ;;
  *) echo "The outcome is unknown; the lines above say why." >&2 ;;
esac
exit "$status"
