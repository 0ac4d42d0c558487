/** What runs inside a Pi, in POSIX sh so that a Pi costs a megabyte before its engine starts. */
import { SYSTEMD_EXEC } from './systemd.ts';

/**
 * First process of the Pi: builds its root from this machine's programs and the Pi's own disk, says `ready`, waits for
 * `go` (its network is plugged in meanwhile) and becomes the supervisor, or systemd. When the lab command dies before `go`, so does this.
 * Arguments: the Pi's directory, its host name. Nothing of it is visible outside of its mount namespace.
 */
export const BOOT = `#!/bin/sh
set -eu
pi=$1
name=$2
mount -t tmpfs -o mode=755,size=64m pi-swarm-lab "$pi/root"
cd "$pi/root"
for entry in /*; do
  case \${entry#/} in proc | sys | dev | run | tmp | var | etc | boot | mnt | media | lost+found) continue ;; esac
  if [ -L "$entry" ]; then ln -s "$(readlink "$entry")" ".$entry"
  elif [ -d "$entry" ]; then mkdir ".$entry" && mount --rbind "$entry" ".$entry"
  fi
done
mkdir -p proc sys dev run tmp var etc boot mnt media .lab .old .upper .work
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t overlay -o lowerdir=/etc,upperdir=.upper,workdir=.work etc etc
mkdir -p etc/pi-swarm etc/docker
for part in var boot etc/pi-swarm etc/docker; do mount --bind "$pi/disk/$part" "$part"; done
mount --bind "$pi/lab" .lab
rm -f etc/hosts etc/resolv.conf
: >etc/resolv.conf
: >etc/hosts
mount --bind "$pi/../hosts" etc/hosts
cp .lab/machine-id etc/machine-id
echo "$name" >etc/hostname
echo "$name" >proc/sys/kernel/hostname
if grep -q '^v2' .lab/cgroups; then
  mount -t cgroup2 cgroup sys/fs/cgroup
  for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" 2>/dev/null >sys/fs/cgroup/cgroup.subtree_control || :
  done
else
  mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
  while read -r directory options; do
    mkdir "sys/fs/cgroup/$directory"
    mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$directory"
    for controller in $(echo "$options" | tr , ' '); do
      case $controller in none | name=* | "$directory") ;; *) ln -s "$directory" "sys/fs/cgroup/$controller" ;; esac
    done
  done <.lab/cgroups
fi
if [ -e .lab/systemd ]; then . "$pi/lab/systemd/root"
else mount --rbind /dev dev && mount -t tmpfs -o mode=1777 shm dev/shm
fi
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
mkdir -p /run/lab
mkfifo /run/lab/poke
echo ready
read -r go
[ "$go" = go ]
if [ -e /.lab/systemd ]; then
${SYSTEMD_EXEC}
fi
exec /bin/sh /.lab/supervise </dev/null >>/var/log/init.log 2>&1
`;

/** Keeps engine and agent running; an orderly shutdown on SIGTERM. Process 1: it also reaps what others leave behind. */
export const SUPERVISE = `#!/bin/sh
. /.lab/environment
say() { echo "$(date -u +%FT%TZ) $*"; }
alive() { [ -n "$1" ] && grep -qs '^State:.[^ZX]' "/proc/$1/status"; }
pid_in() { cat "$1" 2>/dev/null || :; }

engine_loop() {
  while :; do
    # A killed dockerd leaves containerd behind, and the next one would wait for it in vain.
    left=$(pid_in /run/docker/containerd/containerd.pid)
    if alive "$left"; then kill -KILL "$left"; fi
    rm -f /run/docker.pid /run/docker/containerd/containerd.pid /run/docker.sock
    say engine starts
    dockerd --config-file /.lab/daemon.json $LAB_ENGINE_ARGS >>/var/log/dockerd.log 2>&1 &
    echo $! >/run/lab/engine.pid
    wait $!
    say "engine ended with $?"
    sleep 1
  done
}

agent_loop() {
  while :; do
    while [ -e /.lab/agent.off ]; do read -r poke </run/lab/poke || :; done
    say agent starts
    /.lab/bin/pi-swarm agent >>/var/log/agent.log 2>&1 &
    echo $! >/run/lab/agent.pid
    wait $!
    say "agent ended with $?"
    rm -f /run/lab/agent.pid
    [ -e /.lab/agent.off ] || sleep 1
  done
}

# stop WHAT LIMIT: SIGTERM to the process in its pid file, and SIGKILL after LIMIT tenths of a second.
stop() {
  pid=$(pid_in "/run/lab/$1.pid")
  alive "$pid" || return 0
  kill -TERM "$pid"
  tenths=0
  while alive "$pid" && [ $tenths -lt "$2" ]; do sleep 0.1; tenths=$((tenths + 1)); done
  if alive "$pid"; then kill -KILL "$pid"; say "$1 did not end by itself"; else say "$1 ended after $tenths tenths of a second"; fi
}

shutdown() {
  trap '' TERM
  say shutdown
  # Tells the agent that not only itself is stopped: src/shutdown.ts.
  mkdir -p /run/pi-swarm && : >/run/pi-swarm/shutting-down
  kill -KILL $agents; stop agent 300
  kill -KILL $engines; stop engine 300
  sync
  say off
  exit 0
}

trap shutdown TERM
engine_loop & engines=$!
agent_loop & agents=$!
while :; do wait; sleep 1; done
`;

/** Everything a person or a test runs in the Pi finds \`pi-swarm\` and the lab's own node. */
export const CLI_WRAPPER = `#!/bin/sh
exec /.lab/bin/node /.lab/pi-swarm.mjs "$@"
`;
