#!/bin/sh
# Keeps two servers off one mail store: only_server COMMAND [ARGUMENT ...].  A node that a Swarm has
# lost may still run its task, so another one waits here until that one has ended.
set -eu
lock=/var/mail/.mailcrypt-server
exec 9>>"$lock"
# DMS changes the owner of the whole store at its start if a file near its root has another.
chown "${DMS_VMAIL_UID:-5000}:${DMS_VMAIL_GID:-5000}" "$lock"
flock -n 9 || {
  echo 'mailcrypt: waiting, since another server has this mail store'
  flock 9
}
# In a session of its own it gets none of the signals that end the server, and ends after it.
setsid sleep infinity &
exec 9>&-
exec "$@"
