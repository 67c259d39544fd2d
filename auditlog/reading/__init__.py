"""Read logs back: list segments, decode them in any form, follow what is appended."""
