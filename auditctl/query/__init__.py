"""Search records: parse a query (pure), then look it up in files or in a sink.

syntax, times       parse a query; parse a time                              pure
predicate           decide whether a record matches                          pure
needles             bytes that every match has to contain                    pure
scope, grouping     logs and period of a search; matches counted by a field  pure
lines, files        matches in segments, in the order of time
byte_search         find bytes in a buffer with memmem(3)
sqlite, index       matches in a sink, by the same predicate
proof               records that the hash chain proves
"""
