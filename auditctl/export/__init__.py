"""Evidence for somebody who does not have to trust us.

bundle     an archive of segments, proofs and a manifest          written whole or not at all
manifest   what is in it, in numbers and in words                 pure
check      the program inside it that checks it, with Python alone
archive    the same check by auditctl verify, without unpacking
rows       single records as CSV or in ECS names                  pure
"""
