"""The component host, which Pulumi starts for programs in other languages."""

from mailcrypt_component.__main__ import main

if __name__ == "__main__":
    main()
