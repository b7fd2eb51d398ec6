#!/bin/sh
# Dovecot runs this after a login while the server is locked: locked imap|pop3.
said='This mail server is locked: it takes and encrypts mail, but its private key is not there yet. The operator has to run: mailcrypt unlock'
case $1 in
  pop3) printf -- '-ERR [SYS/TEMP] %s\r\n' "$said" ;;
  *) printf '* BYE [UNAVAILABLE] %s\r\n' "$said" ;;
esac
