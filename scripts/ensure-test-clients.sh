#!/bin/sh
# Make sure that there is what the tests act with as users do: Chromium, certutil to make it trust
# an authority, curl, faketime, cron, systemd, shells, ssh and a host to reach with it; what they look
# with: testssl.sh at ports, strace at processes, man and mandoc at the manual; and what further
# engines are made of.
set -eu
missing=
for wanted in chromium:chromium certutil:libnss3-tools curl:curl useradd:passwd faketime:faketime \
    testssl:testssl.sh strace:strace newuidmap:uidmap slirp4netns:slirp4netns \
    rootlesskit:rootlesskit podman:podman runc:runc catatonit:catatonit setpriv:util-linux ip:iproute2 docker-registry:docker-registry \
    ssh:openssh-client /usr/sbin/sshd:openssh-server crontab:cron systemd-analyze:systemd \
    zsh:zsh fish:fish man:man-db mandoc:mandoc; do
    command -v "${wanted%:*}" >/dev/null || missing="$missing ${wanted#*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    apt-get install -qy --no-install-recommends $missing
else
    echo "the tests need more packages: sudo apt-get install$missing" >&2
    exit 1
fi
