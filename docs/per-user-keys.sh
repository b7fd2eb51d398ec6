#!/bin/bash
# What Dovecot's per-user keys hold and break, in a throw-away server (12: Dovecot 2.3, 13: 2.4).
# One line a finding; exit 1 if one differs from what per-user-keys.md says.
set -euo pipefail
tag=${1:?usage: per-user-keys.sh 12|13}
name=peruser-exp-$tag-$$ work=$(mktemp -d)
cleanup() { docker rm -f -v "$name" >/dev/null 2>&1 || true; rm -rf "$work"; }
trap cleanup EXIT
printf '%s|{PLAIN}pw\n' {a,b,c,d,e,f,k,l}@example.test >"$work/accounts"
echo 'thief@example.test|{PLAIN}thief' >>"$work/accounts"
cat >"$work/mail.py" <<'PY'
"""deliver USER[,USER] TOKEN | append USER PW FOLDER TOKEN | has USER PW FOLDER TOKEN | do USER PW FOLDER COMMAND ARG..."""
import imaplib, smtplib, ssl, sys
verb, user, *rest = sys.argv[1:]
def login(folder=None):
    box = imaplib.IMAP4("127.0.0.1"); box.starttls(ssl._create_unverified_context()); box.login(user, rest[0])
    if folder and box.select(folder)[0] != "OK": sys.exit(1)
    return box
if verb == "deliver":
    text = f"From: s@example.test\r\nSubject: s {rest[0]}\r\n\r\ntoken-{rest[0]}\r\n"
    users, lmtp = user.split(","), smtplib.LMTP("/var/run/dovecot/lmtp", 0)
    lmtp.ehlo(), lmtp.mail("s@example.test"), [lmtp.rcpt(each) for each in users]
    try: sys.exit([lmtp.data(text)[0], *(lmtp.getreply()[0] for _ in users[1:])] != [250] * len(users))
    except smtplib.SMTPException: sys.exit(1)
elif verb == "append":
    sys.exit(login().append(rest[1], None, None, f"Subject: x\r\n\r\ntoken-{rest[2]}\r\n".encode())[0] != "OK")
elif verb == "do":
    box = login(rest[1])
    sys.exit((box.uid(*rest[2:]) if rest[2] == "MOVE" else getattr(box, rest[2].lower())(*rest[3:]))[0] != "OK")
elif verb == "has":  # a fetch that fails ends the connection: one for each mail
    for number in range(int(login(rest[1]).select(rest[1])[1][0])):
        try: found = str(login(rest[1]).fetch(str(number + 1), "(BODY.PEEK[TEXT])"))
        except imaplib.IMAP4.error: continue
        if f"token-{rest[2]}\\r" in found: sys.exit(0)
    sys.exit(1)
PY
cat >"$work/inside.sh" <<'IN'
V=$(dovecot --version | cut -c1-3) X=/etc/dovecot/conf.d bad=0
m() { python3 /mail.py "$@" 2>/dev/null; }
no() { ! "$@"; }; key() { printf %s "$1" | sha256sum | cut -d' ' -f1; }   # the key's password, as the passdb makes it
find_() { [ "$1" = "$V" ] || [ "$1" = both ] || return 0; got=holds; "${@:4}" >/dev/null 2>&1 || got=breaks
  echo "$got: $3"; [ "$got" = "$2" ] || { echo "DIFFERENT: the page says $2"; bad=1; }; }
holds() { find_ both holds "$@"; }; breaks() { find_ both breaks "$@"; }
conf() {  # words: curve attr pub priv empty pass acl aclcrypt
  w() { [[ " $want " == *" $1 "* ]] && echo "$2" || true; }; want="$*"
  if [ "$V" = 2.3 ]; then
    { echo "mail_plugins = \$mail_plugins mail_crypt $(w acl acl) $(w aclcrypt mail_crypt_acl)"
      w attr 'mail_attribute_dict = file:/var/mail/%d/%n/dovecot-attributes'
      printf 'auth_master_user_separator = *\nplugin {\n  mail_crypt_save_version = 2\n'; w curve '  mail_crypt_curve = prime256v1'
      w pub '  mail_crypt_global_public_key = </certs/pub'; w priv '  mail_crypt_global_private_key = </certs/k1'
      w empty '  mail_crypt_global_public_key ='; w pass '  mail_crypt_require_encrypted_user_key = yes'
      w acl $'  acl = vfile\n  acl_shared_dict = file:/var/mail/shared.db'; echo '}'
      w acl $'namespace inbox {\n separator = /\n}\nnamespace shared {\n type = shared\n separator = /\n prefix = shared/%%u/\n list = children\n subscriptions = no\n location = maildir:/var/mail/%%d/%%n:INDEXPVT=/var/mail/%d/%n/pvt\n}\nprotocol imap {\n mail_plugins = $mail_plugins quota imap_acl\n}'
    } >$X/10-custom.conf
    sed -i '/override_fields/d' $X/10-auth.conf
    w pass . | grep -q . && sed -i '0,/^  args/s//  override_fields = userdb_mail_crypt_private_password=%{sha256:password}\n&/' $X/10-auth.conf
  else
    { printf 'mail_plugins {\n  mail_crypt = yes\n'; w acl '  acl = yes'; w aclcrypt '  mail_crypt_acl = yes'; printf '}\nauth_master_user_separator = *\n'
      w attr $'mail_attribute {\n  dict file {\n    path = /var/mail/%{user | domain}/%{user | username}/dovecot-attributes\n  }\n}'
      w curve 'crypt_user_key_curve = prime256v1'; w pub 'crypt_global_public_key_file = /certs/pub'
      w priv $'crypt_global_private_key k1 {\n  crypt_private_key_file = /certs/k1\n}'; w empty 'crypt_global_public_key_file ='
      w pass $'crypt_user_key_require_encrypted = yes\npassdb passwd-file {\n  fields {\n    userdb_crypt_user_key_password = %{password | sha256}\n  }\n}'
      w acl $'acl_driver = vfile\nacl_sharing_map {\n dict file {\n  path = /var/mail/shared.db\n }\n}\nnamespace inbox {\n separator = /\n}\nnamespace shared {\n type = shared\n separator = /\n prefix = shared/$user/\n list = children\n subscriptions = no\n mail_path = /var/mail/%{owner_user | domain}/%{owner_user | username}\n mail_index_private_path = /var/mail/%{user | domain}/%{user | username}/pvt\n}\nprotocol imap {\n mail_plugins {\n  imap_acl = yes\n }\n}'
    } >$X/10-custom.conf
  fi
  doveconf -n >/dev/null 2>&1 || { echo "the configuration '$*' is refused"; exit 1; }
  doveadm reload; sleep 1.2; }
dir() { echo "/var/mail/example.test/$1"; }; encrypted_to() { head -c 400 "$(ls -t "$(dir "$1")"/{new,cur}/* 2>/dev/null | head -1)" | od -An -v -tx1 | tr -d ' \n' | grep -q "$2"; }
keyid() { doveadm mailbox cryptokey list -u "$1@example.test" "$2" | awk '/yes/ {print $NF}'; }; steal() { rm -rf "$(dir thief)"; cp -a "$(dir "$1")" "$(dir thief)"; m has thief@example.test thief INBOX "$2"; }
password() { setup email update "$1@example.test" "$2"; write-accounts; sleep 1.2; }; gen() { doveadm -o "$P=$(key "$1")" mailbox cryptokey generate -u "${@:2}"; }
E=example.test P=crypt_user_key_password; [ "$V" = 2.4 ] || P=plugin/mail_crypt_private_password
ring=$(openssl ec -in /certs/k1 -pubout -conv_form compressed -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1)
conf curve attr                                                # user keys, no password
holds 'delivery to a user who never logged in makes the keys' m deliver a@$E a1
breaks 'without a password, a stolen copy of the mail volume stays closed' no steal a a1
doveadm mailbox create -u a@$E Archive
holds 'a mail is format version 2, encrypted to its folder key' encrypted_to a "435259505445440307020000.*$(keyid a INBOX)"
holds 'a move re-encrypts to the other folder'"'"'s key' eval 'm do a@$E pw INBOX MOVE 1 Archive && m has a@$E pw Archive a1 && [ "$(keyid a INBOX)" != "$(keyid a Archive)" ]'
holds 'doveadm exports the private folder key' eval 'doveadm mailbox cryptokey export -u a@$E INBOX | grep "BEGIN PRIVATE KEY"'
m deliver a@$E a2; m deliver a@$E a3; m deliver l@$E l0
holds 'without a password, one LMTP delivery to two users' m deliver a@$E,l@$E two
conf curve attr pub priv                                       # and the ring
holds 'both set: new mail is encrypted to the ring' eval 'sleep 1; m deliver a@$E a4 && encrypted_to a $ring'
holds 'both set: mail under user keys is read' m has a@$E pw INBOX a2
m do a@$E pw INBOX MOVE 2 Archive; breaks 'both set: moved to another folder, such a mail is still read' m has a@$E pw Archive a2
m do a@$E pw Archive MOVE 2 INBOX; holds 'both set: moved back, it is read again' m has a@$E pw INBOX a2
conf attr pub priv; holds 'curve taken out, attributes kept: user-key mail is read' m has a@$E pw INBOX a3
conf pub priv; breaks 'both taken out: user-key mail is read' m has a@$E pw INBOX a3
conf curve attr priv; holds 'ring public key taken out, private kept: ring mail is read' m has a@$E pw INBOX a4
holds 'ring public key taken out: new mail is encrypted to the folder key' eval 'sleep 1; m deliver a@$E a5 && encrypted_to a "$(keyid a INBOX)"'
conf curve attr priv empty
find_ 2.3 breaks 'an empty global public key means user keys' m deliver b@$E b1
find_ 2.4 holds 'an empty global public key means user keys' m deliver b@$E b1
conf curve attr; m deliver c@$E c1; A=$(dir c)/dovecot-attributes; mv "$A" /tmp/old
holds 'dovecot-attributes lost: delivery goes on with new keys, and nothing is said' m deliver c@$E c2
breaks 'dovecot-attributes lost: old mail is read' m has c@$E pw INBOX c1
cat "$A" /tmp/old >/tmp/both; cat /tmp/both >"$A"; holds 'old file appended to the new one: all is read' eval 'm has c@$E pw INBOX c1 && m has c@$E pw INBOX c2'
old=$(head -1 "$(dir c)/dovecot-uidlist" | grep -o 'G[0-9a-f]*'); rm "$(dir c)"/dovecot{-uidlist,.index,.list}*
breaks 'dovecot-uidlist lost (the GUID changes): mail is read' m has c@$E pw INBOX c1
new=$(head -1 "$(dir c)/dovecot-uidlist" | grep -o 'G[0-9a-f]*'); sed -i "s#/${old#G}/#/${new#G}/#" "$A"
holds 'new GUID written into dovecot-attributes: mail is read' m has c@$E pw INBOX c1
conf curve attr acl; m deliver k@$E k0; m append k@$E pw INBOX k1; doveadm mailbox create -u k@$E Team; m append k@$E pw Team k2
m do k@$E pw INBOX setacl Team l@$E lrs; breaks 'a shared folder is read, acl alone' m has l@$E pw shared/k@$E/Team k2
conf curve attr acl aclcrypt; m do k@$E pw INBOX setacl Team l@$E lrsi
holds 'a shared folder is read, with mail_crypt_acl' m has l@$E pw shared/k@$E/Team k2
conf curve attr pass                                           # user keys under the login password
breaks 'delivery before the user has a key' m deliver d@$E d1
find_ 2.3 breaks 'that delivery ends without a crash of LMTP' no grep -qa 'lmtp.*Panic' /var/log/mail/mail.log
find_ 2.4 holds 'that delivery ends without a crash of LMTP' no grep -qa 'lmtp.*Panic' /var/log/mail/mail.log
breaks 'a login alone makes the key' eval 'm do d@$E pw INBOX noop && m deliver d@$E d1'
holds 'the first mail saved after a login makes the key, under the password' eval 'm append d@$E pw INBOX d2 && grep -qa "^2:1.2.840.10045.3.1.7:2:" $(dir d)/dovecot-attributes'
holds 'an admin who knows the password makes it before' eval 'gen pw e@$E -U && m deliver e@$E e1 && m has e@$E pw INBOX e1'
holds 'delivery while logged out, read after the login' eval 'm deliver d@$E d3 && m has d@$E pw INBOX d3'
breaks 'one LMTP delivery to two users who have keys (the second is deferred)' m deliver e@$E,d@$E two
holds 'a stolen copy of the mail volume stays closed' no steal d d3
mkdir -p "$(dir d)/home"; printf 'require ["fileinto","mailbox"];\nfileinto :create "Siv";\n' >"$(dir d)/home/.dovecot.sieve"; chown -R docker:docker "$(dir d)/home"
holds 'sieve files new mail into a new folder, logged out' eval 'm deliver d@$E d4 && m has d@$E pw Siv d4'
rm "$(dir d)/home/.dovecot.sieve"; breaks 'doveadm fetch without the password' doveadm fetch -u d@$E text mailbox INBOX
breaks 'doveadm search in bodies (what an indexer does)' doveadm search -u d@$E mailbox INBOX body token
breaks 'doveadm move to another folder' doveadm move -u d@$E INBOX mailbox Siv all
breaks 'doveadm backup' doveadm backup -u d@$E maildir:/tmp/backup
holds 'doveadm force-resync' doveadm force-resync -u d@$E '*'
holds 'doveadm expunge' eval 'm deliver e@$E e2 && doveadm expunge -u e@$E mailbox INBOX all && [ "$(doveadm -f flow mailbox status -u e@$E messages INBOX)" = "INBOX messages=0" ]'
echo 'boss:{PLAIN}boss' >/etc/dovecot/masterdb
if [ "$V" = 2.3 ]; then printf 'passdb {\n driver = passwd-file\n args = /etc/dovecot/masterdb\n'; else printf 'passdb boss {\n driver = passwd-file\n passwd_file_path = /etc/dovecot/masterdb\n'; fi >$X/05-master.conf
printf ' master = yes\n result_success = continue\n}\n' >>$X/05-master.conf; doveadm reload; sleep 1.2
holds 'a master user logs in' m do "d@$E*boss" boss INBOX noop
breaks 'a master user reads' m has "d@$E*boss" boss INBOX d2
rm $X/05-master.conf; password d next
breaks 'after "setup email update" the old mail is read' m has d@$E next INBOX d2
breaks 'after it, mail delivered since is read' eval 'm deliver d@$E d5 && m has d@$E next INBOX d5'
holds 'after "cryptokey password" with the old one, all is read' eval 'doveadm mailbox cryptokey password -u d@$E -o $(key pw) -n $(key next) && m has d@$E next INBOX d2 && m has d@$E next INBOX d5'
password d reset
breaks 'old password forgotten, new user key made: mail delivered since is read' eval 'gen reset d@$E -U -f && m deliver d@$E d6 && m has d@$E reset INBOX d6'
holds 'and a new folder key made: mail delivered since is read' eval 'gen reset d@$E -f INBOX && m deliver d@$E d7 && m has d@$E reset INBOX d7'
breaks 'and the old mail is read' m has d@$E reset INBOX d2
sed -i '/require_enc/d' $X/10-custom.conf; doveadm reload; sleep 1.2
breaks '"require" left out: a key made by delivery is under the password' eval 'm deliver f@$E f1 && m append f@$E pw INBOX f2 && no grep -qa "^2:1.2.840.10045.3.1.7:0:" $(dir f)/dovecot-attributes'
exit $bad
IN
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$work/k1"
openssl pkey -in "$work/k1" -pubout -out "$work/pub"
docker create --name "$name" --memory 500m --cpus 1 --hostname mail.example.test "mailcrypt-dms-dev:$tag" >/dev/null
docker cp "$work/accounts" "$name:/tmp/docker-mailserver/postfix-accounts.cf" >/dev/null
docker start "$name" >/dev/null
for _ in $(seq 60); do docker exec "$name" test -S /var/run/dovecot/lmtp 2>/dev/null && break; sleep 0.5; done
docker exec "$name" mkdir -p /certs
for file in k1:certs/k1 pub:certs/pub mail.py:mail.py inside.sh:inside.sh; do docker cp "$work/${file%:*}" "$name:/${file#*:}" >/dev/null; done
docker exec "$name" bash /inside.sh
