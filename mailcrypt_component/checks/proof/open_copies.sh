# Lets Dovecot open copies of stored mails:  sh -c TEXT sh FOLDER USER [doveadm's options]
# Reads pairs of a mail's path and its copy's path, each ended by a NUL.  Prints the names that
# Dovecot sees; its complaints about mails that it cannot open go to standard error.
set -u
folder=$1 user=$2
shift 2
trap 'rm -rf "$folder"' EXIT
install -d -o docker -g docker -m 700 "$folder" "$folder/cur" "$folder/new" "$folder/tmp" || exit
# A mail that has disappeared meanwhile is missing from the list.
xargs -0 -r -n 2 cp -p -- 2>/dev/null
doveadm -f tab "$@" fetch -u "$user" storageid all || exit
doveadm "$@" fetch -u "$user" text all >/dev/null
