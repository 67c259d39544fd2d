"""Export evidence that can be checked without trusting us.

bundle        write an archive of segments, proofs and a manifest, completely or not at all
checkpoints   choose the signed checkpoints of an archive
manifest      describe the content for programs and for people      pure
check         the program inside the archive that verifies it, with Python alone
check_record  its part that knows signatures and trust policies; checks single records by itself
archive       the same verification by auditctl verify, without unpacking
rows          single records as CSV or in ECS names                 pure
"""
