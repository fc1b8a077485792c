#!/usr/bin/env bash
# Runs the tests that use what a machine may lack, once without it and once in reverse order. Without it only tests that
# need it may be skipped, each by its name.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    echo "$0: $1" >&2
    exit 1
}

files=$(grep -rlE '\bbrowser\b|postgresql_|store_url|studio' tests --include='test_*.py' | sort | tr '\n' ' ')

HOMEOSTAT_TEST_WITHOUT=chromium,postgresql,label-studio \
    make test ARGS="$files" 2>&1 | tee "$log"
for program in Chromium PostgreSQL "Label Studio"; do
    grep -q "^SKIPPED.*: $program is not installed here" "$log" || fail "$program was hidden, and nothing was skipped"
done
if grep '^SKIPPED' "$log" | grep -Ev ': (Chromium|PostgreSQL|Label Studio) is not installed here'; then
    fail "tests were skipped for another reason"
fi

# In the other order: pages that share a browser, and stores that share a PostgreSQL server.
make test ARGS="--reverse $(grep -lE '\bbrowser\b|store_url' $files | tr '\n' ' ')" 2>&1 | tee "$log"
