# Installs the packages named as arguments. Runs as root, under sh.
# Packages like nbd-server start a service when they are installed. A policy-rc.d that says no for as long as we install
# keeps them from it; a former one is put back whatever happens.
set -eu
policy=/usr/sbin/policy-rc.d
former=$policy.before-volumed
mark='# written by cargo xtask install-deps, for the time of one installation'

restore() {
    if [ -e "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
    if [ -e "$former" ]; then mv -f "$former" "$policy"; fi
}
restore # after an installation that was killed
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -e "$policy" ]; then mv "$policy" "$former"; fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# apt-get waits for dpkg's lock by itself, but not for the lock on the package lists.
refreshed=no
for attempt in $(seq 30); do
    if said=$(apt-get -q -o Acquire::Retries=3 update 2>&1); then refreshed=yes; break; fi
    case $said in *"Could not get lock"*) echo "package lists are locked, waiting (attempt $attempt of 30)"; sleep 5 ;; *) break ;; esac
done
if [ $refreshed = no ]; then
    printf '%s\n' "$said" >&2
    exit 1
fi
apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@"
