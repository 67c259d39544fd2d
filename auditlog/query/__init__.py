"""Find records: parse a query (pure), then look it up in segments.

search              the function that ``auditlog.search`` is
syntax, times       parse a query; parse a time                              pure
predicate           decide whether a record matches                          pure
needles             bytes that every match has to contain                    pure
scope               logs and period of a search                              pure
pattern_time        search a text for a regular expression, within a time
lines, files        matches in segments, in the order of time
byte_search         find bytes in a buffer with memmem(3)
"""
