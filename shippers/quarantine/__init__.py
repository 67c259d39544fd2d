"""Keep records that a sink refused, and alarms, until a person answers or retries them."""
