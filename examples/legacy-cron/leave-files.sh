#!/bin/bash
# Fills a directory as services without a chain and the nightly script left it, counted from today:
#
#   bash examples/legacy-cron/leave-files.sh DIRECTORY
#
# A file a day of some days, as old as its lines: plain up to 30 days, .gz up to 90 and, since the
# script was not run for a while, beyond. Besides: a compression that was killed (a torn .gz beside
# its file), a file that a restore made look young, the file being written, and what is none of it.
set -euo pipefail
mkdir -p -m 0700 "$1"
cd "$1"

day() { date -u -d "$1 days ago" +%F; }

# leave SERVICE DAYS: five lines of that day, in a file that was last written on it
leave() {
    local file="$1.$(day "$2").ndjson" n
    for n in 1 2 3 4 5; do
        printf '{"audit_id":"audit-%s-%d-%d","timestamp":"%sT09:00:0%d.200925322Z",' \
            "$1" "$2" "$n" "$(day "$2")" "$n"
        printf '"service_id":"%s","event":{"event_type":"task_submitted","actor":{"user_id":"user-%d"}}}\n' \
            "$1" "$n"
    done >"$file"
    touch -d "$2 days ago" "$file"
}

for age in 100 95; do leave queen-rbee "$age"; gzip "queen-rbee.$(day "$age").ndjson"; done
for age in 80 60 45; do leave queen-rbee "$age"; gzip "queen-rbee.$(day "$age").ndjson"; done
for age in 40 35; do leave queen-rbee "$age"; done
for age in 20 10 1; do leave queen-rbee "$age"; done

leave rbee-hive 50
gzip -c "rbee-hive.$(day 50).ndjson" | head -c 60 >"rbee-hive.$(day 50).ndjson.gz"
touch -d "50 days ago" "rbee-hive.$(day 50).ndjson.gz"
leave rbee-hive 110
touch -d "5 days ago" "rbee-hive.$(day 110).ndjson"
leave rbee-hive 0

echo "rotated by cron since 2024" >README.txt
ln -s "queen-rbee.$(day 1).ndjson" latest.ndjson
