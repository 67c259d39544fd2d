"""Questions to the logs: what is asked (pure), and where it is looked up.

syntax, times       a text becomes a question, an expression an instant     pure
predicate           whether a record answers the question                  pure
needles             bytes that every answer has to contain                 pure
scope, tally        which logs and when; answers counted by what           pure
lines, files        the answers in segments, in the order of time
sqlite, index       the answers in a sink, by the same predicate
"""
