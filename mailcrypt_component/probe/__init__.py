"""The proof that a running server stores mail sealed to the current key, readable."""

from mailcrypt_component.probe.coverage import Cover
from mailcrypt_component.probe.evidence import Check, Evidence, Target, target_of
from mailcrypt_component.probe.verify import coverage_of, verify

__all__ = ["Check", "Cover", "Evidence", "Target", "coverage_of", "target_of", "verify"]
