#!/bin/sh
# Keeps two servers off one mail store: only_server IDENTITY COMMAND [ARGUMENT ...].  A node that a
# Swarm has lost may still run its task, so another one waits here until that one has ended.
set -eu
identity=$1
shift
# Where the storage is not mounted, an empty folder would become a mail server without any mail.
until grep -qs "$identity" /var/mail/.mailcrypt-volume; do
  echo 'mailcrypt: waiting, since the mail store is not at /var/mail (is the storage mounted?)'
  sleep 5
done
lock=/var/mail/.mailcrypt-server
exec 9>>"$lock"
# DMS changes the owner of the whole store at its start if a file near its root has another.
chown "${DMS_VMAIL_UID:-5000}:${DMS_VMAIL_GID:-5000}" "$lock"
flock -n 9 || {
  echo 'mailcrypt: waiting, since another server has this mail store'
  flock 9
}
holder="$(hostname) $(cat /proc/sys/kernel/random/uuid)"
echo "$holder" >"$lock"
# Storage on a network may take the lock away from a machine that it has not heard of for a while.
# In a session of its own, this gets none of the signals that end the server, and ends after it.
# shellcheck disable=SC2016
setsid sh -c '
  while [ "$(cat "$0")" = "$1" ]; do sleep 1; done
  echo "mailcrypt: another server has taken the mail store; this one is killed" >/proc/1/fd/1
  kill -KILL -1
' "$lock" "$holder" &
exec 9>&-
exec "$@"
