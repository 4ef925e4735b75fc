#!/bin/bash
# OpenSSH's server for guests, one connection on standard input and output at a time. Nothing of the machine's own
# ssh is read or written.
#
#   sshd.sh keys DIR    makes DIR/host_key, DIR/key, DIR/known_hosts and the server's configuration; prints the
#                       user name that DIR/key lets in
#   sshd.sh serve DIR   serves one connection; messages go to DIR/sshd.log
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Root becomes another user of the same rights, of a passwd file of its own: root's account may be locked.
user() { if [ "$(id -u)" = 0 ]; then echo kdump; else id -un; fi; }

keys() { # DIR
    local name
    need ssh-keygen
    for name in host_key key; do ssh-keygen -q -t ed25519 -N '' -C test -f "$1/$name"; done
    echo "* $(cat "$1/host_key.pub")" > "$1/known_hosts"
    printf '%s\n' "HostKey $1/host_key" "AuthorizedKeysFile $1/key.pub" "StrictModes no" "UsePAM no" "UseDNS no" \
        "PermitRootLogin yes" "PasswordAuthentication no" "KbdInteractiveAuthentication no" "PidFile none" > "$1/sshd_config"
    printf '%s\n' "root:x:0:0::/:/bin/sh" "kdump:*:0:0::/:/bin/sh" "sshd:*:101:65534::/:/bin/false" > "$1/passwd"
    user
}

serve() { # DIR
    if [ "$(id -u)" = 0 ]; then
        exec unshare --mount "$0" serve_as_root "$1"
    else
        exec "$("$HERE/program.sh" sshd)" -i -e -f "$1/sshd_config" 2>> "$1/sshd.log"
    fi
}

# In a mount namespace: what sshd needs of a system that has it installed.
serve_as_root() { # DIR
    local sshd
    sshd=$("$HERE/program.sh" sshd)
    mount -t tmpfs tmpfs /run
    mkdir /run/sshd
    mount --bind "$1/passwd" /etc/passwd
    exec "$sshd" -i -e -f "$1/sshd_config" 2>> "$1/sshd.log"
}

case "${1:-}" in
    keys | serve | serve_as_root) "$@" ;;
    *) fail "usage: sshd.sh keys|serve DIR" ;;
esac
