"""Answer a search beyond the files: in a sink, counted by a field, proven by the chain.

sqlite, index   matches in a sink, by the same query and predicate (auditlog.query)
grouping        matches counted by the values of a field                        pure
proof           records that the hash chain proves
"""
