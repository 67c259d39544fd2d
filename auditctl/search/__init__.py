"""Search sinks, count matches by field, and select verified records.

sqlite, index   matches in a sink, by the same query and predicate (auditlog.query)
grouping        matches counted by the values of a field                        pure
proof           records that the hash chain proves
"""
