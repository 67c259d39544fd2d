"""What happened in the logs over a time, as one page for people who have no terminal open.

facts     what is counted, record by record; bounded memory; pure
sources   where each number comes from: segments, verification, cursors, tombstones
page      the facts as one self-contained HTML page
"""
