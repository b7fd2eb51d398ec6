#!/bin/bash
# Notice changed account files in a running server, as docker-mailserver does.
config=/tmp/docker-mailserver
state() { cat "$config"/postfix-{accounts,virtual,receive-access,send-access}.cf 2>/dev/null | sha256sum; }
old=$(state)
while sleep 1; do
  new=$(state)
  [ "$new" != "$old" ] || continue
  old=$new
  /usr/local/bin/write-accounts
  postfix reload >/dev/null 2>&1
done
