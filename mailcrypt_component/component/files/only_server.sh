#!/bin/sh
# Keeps two servers off one mail store: only_server COMMAND [ARGUMENT ...].  A node that a Swarm has
# lost may still run its task, so another one waits here until that one has ended.
set -eu
exec 9>>/var/mail/.mailcrypt-server
flock -n 9 || {
  echo 'mailcrypt: waiting, since another server has this mail store'
  flock 9
}
# In a session of its own it gets none of the signals that end the server, and ends after it.
setsid sleep infinity &
exec 9>&-
exec "$@"
