"""The setting `download_rate`: a rate such as `500KB/s`, or rates by the hour such as `8-18 500KB/s, 5MB/s`. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

DEFAULT_UNIT = "mb"  # per second
UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
BITS = {"kbit": 125, "mbit": 125_000, "gbit": 125_000_000, "kbps": 125, "mbps": 125_000, "gbps": 125_000_000}
LARGEST = 10**12  # bytes per second
_RATE = re.compile(
    r"(?:(?P<first>\d{1,2})(?::00)?\s*-\s*(?P<end>\d{1,2})(?::00)?\s+)?"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)(?:/s)?",
    re.ASCII | re.IGNORECASE,
)


class HourlyRate(NamedTuple):
    """Bytes per second, 0 without a limit, from one full hour of the day to another; across midnight if it is less."""

    first_hour: int
    end_hour: int
    bytes_per_second: int

    def applies(self, hour: int) -> bool:
        return (hour - self.first_hour) % 24 < ((self.end_hour - self.first_hour) % 24 or 24)


def parse_rates(text: str) -> tuple[HourlyRate, ...]:
    """The rates of a text; a bare number is megabytes per second. Raises ValueError.

    >>> parse_rates("500KB/s"), parse_rates("0.5")[0].bytes_per_second, parse_rates("20 Mbit/s")[0].bytes_per_second
    ((HourlyRate(first_hour=0, end_hour=0, bytes_per_second=500000),), 500000, 2500000)
    >>> [rate.bytes_per_second for rate in parse_rates("22-8 0, 1MB/s")]
    [0, 1000000]
    """
    return tuple(map(_parsed, text.split(",")))


def rate_at(rates: Sequence[HourlyRate], hour: int) -> int:
    """Bytes per second in that hour of the day, by the first rate that applies; 0 without a limit."""
    return next((rate.bytes_per_second for rate in rates if rate.applies(hour)), 0)


def _parsed(text: str) -> HourlyRate:
    match = _RATE.fullmatch(text.strip())
    size = match and (UNITS | BITS).get((match["unit"] or DEFAULT_UNIT).lower())
    hours = (int(match["first"]), int(match["end"])) if match and match["first"] else (0, 0)
    if match is None or size is None or max(hours) > 24 or float(match["number"]) * size > LARGEST:
        raise ValueError(f"{text.strip()!r} is not a rate")
    rate = float(match["number"]) * size
    return HourlyRate(hours[0] % 24, hours[1] % 24, max(int(rate), 1) if rate else 0)
