#!/bin/sh
# Runs in the clean Debian as its only user: installs the packages, uses them, and says what it saw. The last line is the verdict.
# What must hold is asked with `must`; what does not hold is said, and the rest is tried all the same.
exec 2>&1
export SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PAGER=cat SYSTEMD_PAGER=
stty -F /dev/ttyS1 -opost cols 160 2>/dev/null

say() { printf '\n== %s\n' "$*"; }
failures=0
fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    journalctl --no-pager -o cat -n 8 -u volumed.service -u migrate-engine.service -u export-check.service | sed 's/^/    /'
}
# Shows a command and what it says.
run() { printf '# %s\n' "$*"; eval "$*"; }
must() { run "$*" || fail "$* (status $?)"; }
# Waits until a command succeeds, a minute or two at most.
within() {
    for _ in $(seq 90); do if eval "$*" >/dev/null 2>&1; then echo "yes: $*"; return 0; fi; sleep 0.5; done
    fail "not within a minute: $*"
}
# What the packages depend on is there: the machine has no network.
apt() { apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
# The terse part of what apt says.
install() {
    printf '# apt-get install %s\n' "$*"
    apt install "$@" >/tmp/apt.log 2>&1; code=$?
    grep -E '^(Unpacking|Setting up|Removing|Purging|Installing new|volumed:|migrate-engine:)' /tmp/apt.log
    [ $code = 0 ] || { cat /tmp/apt.log; fail "installation"; }
}
shown() { systemctl show "$1" -P "$2"; }
device_of() { volumectl --json device "$1" | sed -n 's/.*"device_path": *"\([^"]*\)".*/\1/p' | head -1; }

cd /root/packages
new() { ls "$PWD/$1"_*.deb; }

say "where we are"
run "grep PRETTY /etc/os-release; uname -r; systemctl is-system-running"

say "install: nothing is started"
install "$(new volumectl)" "$(new volumed)" "$(new migrate-engine)"
run "systemctl is-enabled volumed.service migrate-engine.service migrate-engine-worker.service"
run "systemctl is-active volumed.service"
must "id volumed; id migrate-engine"
must "stat -c '%A %U:%G %n' /etc/volumed /etc/volumed/volumed.toml /run/volumed /sys/bus/pci/rescan"
must "volumed check-config"
must "sysctl net.core.rmem_max"
must "test -s /usr/share/bash-completion/completions/volumed -a -s /usr/share/man/man1/migrate-engine-serve.1.gz"

say "enable: it works"
must "systemctl enable --now volumed.service 2>&1"
must "systemctl status --no-pager --lines=3 volumed.service | head -12"
within "volumectl status"
must "volumectl status"
must "grep -E '^(Uid|Groups|CapEff|NoNewPrivs|Seccomp):' /proc/$(shown volumed MainPID)/status"
must "systemd-analyze security --no-pager volumed.service | tail -1"
run "volumectl doctor"

say "a volume"
must "volumectl volumes create first --size 64MiB"
must "volumectl attach first"
device=$(device_of first)
[ -b "$device" ] || fail "the volume has no device: $(volumectl --json device first)"
must "lsblk -o NAME,SIZE,TYPE $device"
must "volumectl volumes resize first --size 96MiB"
must "volumectl detach first && volumectl snapshots create first before && volumectl attach first"
device=$(device_of first)
echo "what must stay" | dd of="$device" bs=4096 conv=sync,fsync status=none
say "who holds a disk is seen, whoever it is"
sleep 600 <"$device" & holder=$!
run "volumectl detach first" && fail "a held volume was detached"
kill $holder; wait $holder 2>/dev/null
say "the bus may be asked to look, and nothing else in /sys"
pid=$(shown volumed MainPID)
must "nsenter -t $pid -m setpriv --reuid volumed --regid volumed --clear-groups --bounding-set -all sh -c 'echo 1 > /sys/bus/pci/rescan'"
run "nsenter -t $pid -m sh -c 'echo 1 > /sys/kernel/uevent_seqnum; touch /usr/x /etc/x /home/x /var/lib/x; true'"

say "the migration service, without any privilege"
mkdir -p /srv/shelf /etc/systemd/system/migrate-engine.service.d
head -c 48M /dev/urandom >/srv/shelf/web.raw
printf '[[files]]\nhost = "shelf"\npath = "/srv/shelf"\n' >/etc/migrate-engine/sources.toml
printf '[Service]\nExecStart=\nExecStart=/usr/bin/migrate-engine serve --socket /run/migrate-engine/migrate-engine.sock --buffer 16MB --keep-attached\n' \
    >/etc/systemd/system/migrate-engine.service.d/small.conf
must "systemctl daemon-reload && systemctl enable --now migrate-engine.service 2>&1"
must "systemctl status --no-pager --lines=3 migrate-engine.service | head -12"
must "grep -E '^(Uid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$(shown migrate-engine MainPID)/status"
must "systemd-analyze security --no-pager migrate-engine.service migrate-engine-worker.service | grep -i overall"
must "migrate-engine sources shelf"
must "migrate-engine start --vcenter shelf --all --yes --watch 2>&1 | tail -15"
must "volumectl volumes"
copied=$(volumectl --json volumes | sed -n 's/.*"name": *"\([^"]*web[^"]*\)".*/\1/p' | head -1)
must "cmp -n $((48 * 1024 * 1024)) /srv/shelf/web.raw $(device_of "$copied") && echo equal"
say "an export, by the service's user in a unit of the same kind"
sed -e 's/^Type=.*/Type=exec/' -e '/^Sockets=/d;/^WatchdogSec=/d;/^NotifyAccess=/d;/^ExecReload=/d;/^\[Install\]/,$d' \
    -e 's/^\(RuntimeDirectory\|StateDirectory\)=.*/\1=export-check/' \
    -e 's#^ExecStart=.*#ExecStart=/usr/bin/migrate-engine export first --runtime-dir /run/export-check --database /var/lib/export-check/e.db --nbd-listen 127.0.0.1:10899#' \
    /lib/systemd/system/migrate-engine.service >/run/systemd/system/export-check.service
must "systemctl daemon-reload && systemctl start export-check.service"
within "ss -ltn | grep -q 10899"
volume=$(volumectl --json volumes show first | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' | head -1)
must "qemu-img info nbd://127.0.0.1:10899/migration-vol-$volume | head -4"
must "qemu-io -f raw -c 'read 0 512' -c 'write -P 7 1M 64k' nbd://127.0.0.1:10899/migration-vol-$volume"
must "systemctl stop export-check.service"

say "watchdog: a daemon that hangs is killed, and comes back"
# Stops a service's process and waits until there is another one.
replaced() {
    before=$(shown "$1" MainPID)
    [ "$before" != 0 ] || { fail "$1 does not run"; return; }
    must "kill -STOP $before"
    for _ in $(seq 120); do
        now=$(shown "$1" MainPID)
        if [ "$now" != "$before" ] && [ "$now" != 0 ]; then break; fi
        sleep 1
    done
    run "journalctl --no-pager -o cat -u $1 | grep -iE 'watchdog|killed|Scheduled' | tail -4"
    [ "$now" != "$before" ] || fail "$1 was not replaced"
}
replaced volumed.service
within "volumectl status"
must "volumectl mappings list"
replaced migrate-engine.service
within "migrate-engine jobs"
must "systemctl show migrate-engine.service -P StatusText"

say "installed again over itself: the socket stays, volumes stay attached"
before=$(device_of first)
install --reinstall "$(new volumed)" "$(new migrate-engine)"
within "volumectl status"
[ "$(device_of first)" = "$before" ] || fail "the volume is another device now"
must "systemctl is-active volumed.service migrate-engine.service"

say "remove: stops, and leaves data"
install migrate-engine- volumed-
must "ls /var/lib/volumed /var/lib/migrate-engine"
must "test -s /var/lib/volumed/volumed.db -a -d /var/lib/volumed/volumes -a -e /etc/volumed/volumed.toml"
say "installed again: everything is there"
install "$(new volumed)" "$(new migrate-engine)"
must "systemctl enable --now volumed.service 2>&1"
within "volumectl status"
must "volumectl volumes"
must "dd if=$(device_of first) bs=14 count=1 status=none | grep 'what must stay'"
must "cmp -n $((48 * 1024 * 1024)) /srv/shelf/web.raw $(device_of "$copied") && echo equal"

say "purge, unasked: records and volumes stay"
install migrate-engine- volumed- --purge
must "ls /var/lib/volumed /var/lib/migrate-engine"
must "test -s /var/lib/volumed/volumed.db -a ! -e /etc/volumed"
say "purge, told to: records go, volumes stay"
install "$(new volumed)" "$(new migrate-engine)"
run "echo volumed volumed/purge-records boolean true | debconf-set-selections"
run "echo migrate-engine migrate-engine/purge-records boolean true | debconf-set-selections"
install migrate-engine- volumed- --purge
run "ls /var/lib/volumed"
must "test ! -e /var/lib/volumed/volumed.db -a -d /var/lib/volumed/volumes -a ! -e /var/lib/migrate-engine"
losetup --detach-all; rm -rf /var/lib/volumed

say "upgrade: from a daemon of before the packages, as root, with schema 2"
install "$PWD"/older/volumed_*.deb
must "systemctl enable --now volumed.service 2>&1"
within "volumectl status"
must "ps -o user=,args= -p $(shown volumed MainPID)"
must "volumectl volumes create kept --size 32MiB && volumectl attach kept"
before=$(device_of kept)
echo "what must stay" | dd of="$before" bs=4096 conv=sync,fsync status=none
must "sqlite3 -readonly /var/lib/volumed/volumed.db 'pragma user_version'"
must "stat -c '%U:%G %n' /var/lib/volumed/volumed.db /var/lib/volumed/volumes"
pid=$(shown volumed MainPID)
install "$(new volumed)"
within "volumectl status"
[ "$(shown volumed MainPID)" != "$pid" ] || fail "the daemon was not restarted"
must "systemctl is-active volumed.service; ps -o user=,args= -p $(shown volumed MainPID)"
must "sqlite3 -readonly /var/lib/volumed/volumed.db 'pragma user_version'"
must "stat -c '%U:%G %n' /var/lib/volumed/*"
must "sqlite3 -readonly /var/lib/volumed/before-upgrade-from-0.0.9-1.db 'pragma user_version'"
[ "$(device_of kept)" = "$before" ] || fail "the volume is another device now"
must "volumectl volumes; volumectl findings"
must "dd if=$before bs=14 count=1 status=none | grep 'what must stay'"
must "volumectl detach kept && volumectl attach kept"
must "volumed fsck --config /etc/volumed/volumed.toml"
say "and back: the copy that the upgrade made"
must "systemctl stop volumed.service volumed.socket"
must "volumed restore --database /var/lib/volumed/volumed.db --from /var/lib/volumed/before-upgrade-from-0.0.9-1.db"
must "stat -c '%U:%G %n' /var/lib/volumed/volumed.db"
must "systemctl start volumed.service"
within "volumectl status"
must "volumectl volumes"

say "the end"
run "systemctl --failed --no-legend"
[ $failures = 0 ] && echo PASSED || echo "$failures things did not hold"
