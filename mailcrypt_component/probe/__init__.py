"""The proof that a running server stores mail sealed to the current key, readable."""

from mailcrypt_component.probe.evidence import Check, Evidence, Target, target_of
from mailcrypt_component.probe.verify import verify

__all__ = ["Check", "Evidence", "Target", "target_of", "verify"]
