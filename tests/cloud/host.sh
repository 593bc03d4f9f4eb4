#!/bin/sh
# One machine of the test cloud, as a network namespace and a process in namespaces of its own. Run by the hypervisor
# (tests/src/cloud/host.rs), as root:
#
#   host.sh network NAMESPACE VETH BRIDGE ADDRESS GATEWAY   makes its network
#   host.sh run NAMESPACE ROOTS FOLDER HOSTNAME GATEWAY     becomes the machine, until it is killed or powers off
#   host.sh remove NAMESPACE                                ends what is left in its network, and that too
set -eu

case $1 in
network)
    ip -batch - <<END
netns add $2
link add $3 type veth peer name eth0 netns $2
link set $3 master $4 up
END
    ip -n "$2" -batch - <<END
link set lo up
addr add 169.254.169.254/32 dev lo
addr add $5/24 dev eth0
link set eth0 up
route add default via $6
END
    ;;
run)
    mkdir -p "$4/upper" "$4/work" "$4/root"
    # The mounts vanish with the machine, because they are made in its own namespace.
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec ip netns exec "$2" unshare --mount --uts --ipc --pid --fork --kill-child --propagation private sh -euc '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
        mount -t tmpfs -o mode=755 dev "$2/root/dev"
        for device in null zero full random urandom tty; do
            touch "$2/root/dev/$device"
            mount --bind "/dev/$device" "$2/root/dev/$device"
        done
        for name in shutdown poweroff halt; do cp "$4/poweroff.py" "$2/root/usr/sbin/$name"; done
        cp "$4/machine-init.sh" "$2/root/usr/sbin/machine-init"
        printf "[global]\ntrusted-host = %s\n" "$5" >"$2/root/etc/pip.conf"
        cp "$4/date.sh" "$2/root/usr/local/bin/date"
        hostname "$3"
        exec chroot "$2/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root /sbin/machine-init
    ' machine "$3" "$4" "$5" "$(dirname "$0")" "$6"
    ;;
remove)
    for pid in $(ip netns pids "$2" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns delete "$2" 2>/dev/null || true
    ;;
esac
