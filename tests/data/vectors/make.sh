#!/bin/sh
# Makes the test vectors beside it, with printf and sha256sum alone: no code of the library, so that
# they say what the format is and not what the library does.  Run it in an empty directory and
# compare (tests/auditlog/test_record.py does).
set -eu
LC_ALL=C
export LC_ALL

zeros=0000000000000000000000000000000000000000000000000000000000000000

begin() { # log: what follows is a new log's
    log=$1 seq=0 hash=$zeros
}

record() { # segment, timestamp, rest of the members
    seq=$((seq + 1))
    content=$(printf '{"v":1,"log":"%s","seq":%s,"prev_hash":"%s","@timestamp":"%s",%s' \
        "$log" "$seq" "$hash" "$2" "$3")
    hash=$(printf '%s' "$content" | sha256sum | cut -c 1-64)
    printf '%s,"hash":"%s"}\n' "$content" "$hash" >>"$1"
}

# A log of two segments, on two days.
begin queen-rbee@hive1
us='"service":"queen-rbee","host":"hive1"'
first=$log.2026-11-23.0001.ndjson
second=$log.2026-11-24.0001.ndjson
record "$first" 2026-11-23T07:12:00.123456Z '"event_type":"log.segment_opened",'"$us"',"outcome":"success","severity":"info","details":{"previous_segment":null}'
record "$first" 2026-11-23T07:12:00.123456Z '"event_type":"log.opened",'"$us"',"outcome":"success","severity":"info","details":{"pid":4711,"flush":"hybrid"}'
record "$first" 2026-11-23T07:12:00.500000Z '"event_type":"task_submitted",'"$us"',"actor":{"user_id":"alice","ip":"192.0.2.7","auth_method":"bearer_token","session_id":"s-1"},"resource":{"resource_type":"task","resource_id":"t-1","parent_id":"pool-1"},"outcome":"success","severity":"info","correlation_id":"req-12345","details":{"task_id":"t-1","model_ref":"hf:acme/llama-3-8b"}'
record "$first" 2026-11-23T23:59:59.999999Z '"event_type":"auth_failure",'"$us"',"actor":{"user_id":"mallory","ip":"2001:db8::7","auth_method":"api_key"},"outcome":"failure","reason":"unknown key","severity":"warning"'
record "$second" 2026-11-24T00:00:00.000000Z '"event_type":"log.segment_opened",'"$us"',"outcome":"success","severity":"info","details":{"previous_segment":"'"$first"'","previous_bytes":'"$(wc -c <"$first" | tr -d ' ')"',"previous_hash":"'"$hash"'"}'
record "$second" 2026-11-24T00:00:00.000000Z '"event_type":"task_completed",'"$us"',"outcome":"success","severity":"info","details":{"task_id":"t-1","tokens":9007199254740993}'
record "$second" 2026-11-24T18:00:00.000001Z '"event_type":"log.closed",'"$us"',"outcome":"success","severity":"info"'

# Unicode, escapes, text that looks like the end of a record, and the least a record can have.
begin rbee-hive@gpu-1.example.org+2
us='"service":"rbee-hive","host":"gpu-1.example.org"'
only=$log.2026-11-23.0001.ndjson
record "$only" 2026-11-23T00:00:00.000000Z '"event_type":"log.segment_opened",'"$us"',"outcome":"success","severity":"info","details":{"previous_segment":null}'
record "$only" 2026-11-23T00:00:00.000001Z '"event_type":"pool.renamed",'"$us"',"outcome":"success","severity":"info","details":{"de":"Größe","zh":"模型池","emoji":"🦙","rtl":"שלום","combining":"é"}'
record "$only" 2026-11-23T00:00:00.000002Z '"event_type":"pool.renamed",'"$us"',"outcome":"success","severity":"info","details":{"quote":"\"","backslash":"\\","newline":"\n","tab":"\t","nul":"\u0000","bell":"\u0007","escaped":"\u00e9\ud83e\udd99","slash":"\/"}'
record "$only" 2026-11-23T00:00:00.000003Z '"event_type":"pool.renamed",'"$us"',"outcome":"partial_success","reason":"looks like an end: \",\"hash\":\"'"$zeros"'\"}","severity":"info","details":{"hash":"'"$zeros"'","seq":1}'
record "$only" 2026-11-23T00:00:00.000004Z '"event_type":"x"'
