"""Report the activity of a period as one page, for readers without a terminal.

counts    count records with bounded memory               pure
collect   read segments, verification, cursors and tombstones
page      render the report as one self-contained HTML page
"""
