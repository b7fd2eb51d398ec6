"""The proof: does this running server store mail sealed to the current key, readable?"""

from mailcrypt_component.probe.evidence import Check, Evidence, Target
from mailcrypt_component.probe.verify import verify

__all__ = ["Check", "Evidence", "Target", "verify"]
