"""Keep refused records and alarms until a person acknowledges or retries them."""
