#!/bin/sh
# Ask for an instance, wait until it is there, and go on with its ID; each way to fail has an answer of its own.
# It needs GCORE_API_KEY, and INSTANCES_URL such as https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID.
set -eu

started=$(curl --fail-with-body --silent --show-error \
  --header "Authorization: APIKey $GCORE_API_KEY" \
  --header "Content-Type: application/json" \
  --data @instance.json \
  "$INSTANCES_URL")

status=0
instance=$(printf '%s' "$started" |
  waiter wait - --timeout "${PATIENCE:-30m}" --output text --query 'created_resources.instances[0]') || status=$?

case $status in
  0) echo "The new instance is $instance" ;;
  1) echo "It could not be made; waiter has said what is left to clean up." >&2 ;;
  5 | 124) echo "It may be made yet: run the command that waiter has printed." >&2 ;;
  *) echo "Nobody knows; waiter has said why." >&2 ;;
esac
exit "$status"
