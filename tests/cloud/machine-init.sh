#!/bin/sh
# The first process of a machine of the test cloud. As cloud-init does: it asks the metadata for the user-data, and runs
# them once as root. Whatever it prints is on the console.
mount -t proc proc /proc
# Of this machine, and not of the one that it runs on.
[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -m 1777 /dev/shm
ln -s /proc/self/fd /dev/fd
mkfifo -m 600 /dev/console
# Opened for both, so that it never ends.
cat <>/dev/console &

metadata=http://169.254.169.254/latest
ask() { curl --silent --show-error --fail --max-time 5 "$@"; }
token=$(ask --retry 50 --retry-delay 0 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $metadata/api/token)
data=/var/lib/user-data
ask -H "X-aws-ec2-metadata-token: $token" --output $data $metadata/user-data || echo 'no user-data'

# Compressed ones begin with 1f 8b.
if [ "$(od -An -tx1 -N2 $data 2>/dev/null | tr -d ' ')" = 1f8b ]; then
    gzip -dc <$data >$data.script && mv $data.script $data
fi
if [ "$(head -c 2 $data 2>/dev/null)" = '#!' ]; then
    chmod 700 $data
    $data 2>&1 </dev/null | tee -a /var/log/cloud-init-output.log
elif [ -e $data ]; then
    echo 'these user-data are no script'
fi

# The first process inherits the orphans, and must not end.
while :; do sleep 1; done
