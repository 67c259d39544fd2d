"""Every log of a fleet at a glance, from what was shipped: silence, gaps, forks, strangers."""
