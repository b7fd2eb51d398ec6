#!/bin/bash
# Start-up as docker-mailserver does it: wait for an account, set up, start, say so, follow the log.
set -eu
config=/tmp/docker-mailserver
log() { echo "[   INF   ]  $*"; }

wait_for_account() {
  local seconds=0
  until [ -s "$config/postfix-accounts.cf" ]; do
    [ "$seconds" -gt 0 ] || echo "[ WARNING ]  You need at least one mail account to start Dovecot (120s left for account creation before shutdown)"
    if [ "$seconds" -ge 120 ]; then
      echo '[  ERROR  ]  No accounts provided - shutting down'
      kill "$(cat /var/run/supervisord.pid)"
      exit 1
    fi
    sleep 1
    seconds=$((seconds + 1))
  done
}

setup_tls() {
  [ "${SSL_TYPE:-}" = manual ] || return 0
  install -D -m 0600 "$SSL_KEY_PATH" /etc/dms/tls/key
  install -D -m 0644 "$SSL_CERT_PATH" /etc/dms/tls/cert
  sed -i -e 's/^ssl = yes/ssl = required/' -e 's#/etc/dovecot/ssl/dovecot.pem#/etc/dms/tls/cert#' \
    -e 's#/etc/dovecot/ssl/dovecot.key#/etc/dms/tls/key#' /etc/dovecot/conf.d/10-ssl.conf
  postconf -e 'smtpd_tls_cert_file = /etc/dms/tls/cert' 'smtpd_tls_key_file = /etc/dms/tls/key'
}

setup_postfix() {
  postconf -e "myhostname = ${OVERRIDE_HOSTNAME:-$(hostname -f)}"
  [ ! -f "$config/postfix-main.cf" ] || grep -vE '^\s*(#|$)' "$config/postfix-main.cf" | while read -r line; do postconf -e "$line"; done
}

setup_dovecot() {
  [ ! -f "$config/dovecot.cf" ] || cp "$config/dovecot.cf" /etc/dovecot/local.conf
  [ "${ENABLE_POP3:-0}" != 1 ] || cp /etc/dovecot/pop3.protocol /etc/dovecot/protocols.d/
  [ "${ENABLE_MANAGESIEVE:-0}" != 1 ] || cp /etc/dovecot/sieve.protocol /etc/dovecot/protocols.d/
}

# What has to outlive the container lies in the state volume: Postfix's queue above all.
setup_state() {
  local state=/var/mail-state dir kept
  [ -d "$state" ] || return 0
  for dir in lib/dovecot lib/postfix spool/postfix; do
    [ ! -L "/var/$dir" ] || continue
    kept=$state/${dir//\//-}
    mkdir -p "/var/$dir"
    if [ -d "$kept" ]; then rm -rf "/var/$dir"; else mv "/var/$dir" "$kept"; fi
    ln -s "$kept" "/var/$dir"
  done
  # Another Debian may have given its users other numbers.
  chown -R postfix:postfix "$state/lib-postfix"
  chown -R postfix:root "$state/spool-postfix"
  chown root:root "$state/spool-postfix"
  for dir in dev etc lib pid usr; do
    [ ! -d "$state/spool-postfix/$dir" ] || chown -R root:root "$state/spool-postfix/$dir"
  done
  [ -d "$state/spool-postfix/maildrop" ] || return 0  # Postfix makes it when it first starts.
  chgrp -R postdrop "$state/spool-postfix/maildrop" "$state/spool-postfix/public"
  chmod 1730 "$state/spool-postfix/maildrop"
  chmod 2710 "$state/spool-postfix/public"
}

# As docker-mailserver: everything is set up once, when a container starts for the first time.
set_up() {
  wait_for_account
  touch /var/log/mail/mail.log
  # As user postfix, postsuper warns here of what a crash left in the queue; else Postfix never starts.
  chown postfix:root /var/log/mail/mail.log
  chown docker:docker /var/mail
  setup_tls
  setup_postfix
  setup_dovecot
  setup_state
  /usr/local/bin/write-accounts
  [ ! -f "$config/user-patches.sh" ] || bash "$config/user-patches.sh"
  sha256sum "$config"/postfix-{accounts,virtual,receive-access,send-access}.cf \
    >/tmp/docker-mailserver-config-chksum 2>/dev/null || true
  touch /CONTAINER_START
}

log 'Welcome'
if [ -f /CONTAINER_START ]; then log 'This container was already set up'; else set_up; fi
supervisorctl start dovecot postfix changedetector >/dev/null
log "$(hostname -f) is up and running"
exec tail -Fn 0 /var/log/mail/mail.log
