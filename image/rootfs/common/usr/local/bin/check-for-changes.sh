#!/bin/bash
# Notice changed account files in a running server, as docker-mailserver does.
config=/tmp/docker-mailserver
checksums=/tmp/docker-mailserver-config-chksum
if [ ! -f "$checksums" ]; then
  echo "'$checksums' is missing"
  exit 0
fi
while sleep 1; do
  sha256sum "$config"/postfix-{accounts,virtual,receive-access,send-access}.cf >"$checksums.new" 2>/dev/null
  cmp -s "$checksums" "$checksums.new" && continue
  /usr/local/bin/write-accounts
  postfix reload >/dev/null 2>&1
  mv "$checksums.new" "$checksums"
done
