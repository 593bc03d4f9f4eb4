
# From here on it is the same for every machine.
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=${HOME:-/root}
export PATH HOME
config=/etc/data-runner
secrets=/run/data-runner
state=/var/lib/data-runner
agent=/usr/local/bin/data-runner-agent
journal=/var/log/data-runner-boot.log
units=/etc/systemd/system
step='starting'
exec 3>&1

# A line for the console, which GetConsoleOutput shows, and for cloud-init's own log.
say() {
    printf 'data-runner: %s\n' "$*" >&3
    { printf 'data-runner: %s\n' "$*" >/dev/console; } 2>/dev/null || true
}

begin() {
    step=$1
    printf '== %s: %s\n' "$(date -u +%T)" "$step"
    say "$step"
}

die() {
    say "$*"
    exit 1
}

# Whatever goes wrong: this machine costs money and is of no use.
ended() {
    code=$?
    trap - EXIT
    [ "$code" -ne 0 ] || exit 0
    say "this machine cannot be made ready: $step failed with code $code; it powers off in $GRACE s"
    tail -n 25 "$journal" 2>/dev/null | while read -r line; do say "  $line"; done
    sleep "$GRACE"
    sh -c "$POWER_OFF"
    exit "$code"
}
trap ended EXIT
trap 'exit 143' HUP INT TERM

has_systemd() { [ -d /run/systemd/system ]; }

# Runs on when this script has ended.
detach() { setsid "$@" </dev/null >/dev/null 2>&1 3>&- & }

# Starts a unit now and after every boot.
enable_unit() {
    systemctl daemon-reload
    systemctl enable --quiet "$1"
    systemctl start --no-block "$1"
}

# The hard deadline comes first: nothing that happens after this keeps the machine.
step='arming the deadline'
mkdir -p "$config" "$secrets" "$state"
cat >"$config/deadline.sh" <<END
#!/bin/sh
# Powers this machine off at its deadline, whatever became of the rest.
while left=\$(($DEADLINE - \$(date +%s))); [ "\$left" -gt 0 ]; do
    sleep "\$((left < 30 ? left : 30))"
done
echo 'data-runner: the deadline of this machine has come; it powers off' >/dev/console
while :; do
    $POWER_OFF
    sleep 15
done
END
if has_systemd; then
    cat >"$units/data-runner-deadline.service" <<END
[Unit]
Description=Data Runner: powers this machine off at its deadline

[Service]
ExecStart=/bin/sh $config/deadline.sh
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
END
    enable_unit data-runner-deadline.service
else
    detach sh "$config/deadline.sh"
fi
exec >>"$journal" 2>&1

begin 'looking at this machine'
[ "$(uname -m)" = "$ARCHITECTURE" ] || die "this machine is $(uname -m), and its agent is for $ARCHITECTURE"

begin 'fetching the agent'
printf '%s' "$CA" >"$config/ca.pem"

is_whole() { printf '%s  %s\n' "$2" "$1" | sha256sum -c - >/dev/null 2>&1; }

# fetch URL CA FILE. Without a CA, those that the machine trusts count.
fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --connect-timeout 10 --max-time 300 \
            ${2:+--cacert "$2"} --output "$3" "$1"
    else
        python3 - "$@" <<'END'
import shutil, ssl, sys, urllib.request
url, ca, file = sys.argv[1:]
context = ssl.create_default_context(cafile=ca or None)
with urllib.request.urlopen(url, timeout=60, context=context) as answer, open(file, "wb") as out:
    shutil.copyfileobj(answer, out)
END
    fi
}

# fetch_agent URL CA
fetch_agent() {
    fetch "$1" "$2" "$agent.part" || return 1
    is_whole "$agent.part" "$AGENT_SHA256" && return 0
    say "what comes from ${1%%\?*} is not the agent that was expected"
    return 1
}

# A baked image holds it already.
if ! is_whole "$agent" "$AGENT_SHA256"; then
    # The supervisor may just be starting again.
    for pause in 1 1 2 4 8 15 30 30 30 30 30 0; do
        if fetch_agent_from_anywhere; then break; fi
        # Whoever terminates a machine that never joined reads it here.
        say "the agent cannot be fetched: $(tail -n 1 "$journal")"
        [ "$pause" -gt 0 ] || die 'the agent cannot be had'
        sleep "$pause"
    done
    chmod 0755 "$agent.part"
    mv -f "$agent.part" "$agent"
fi

# Environments for Polars and DuckDB are the agent's to make. It needs Python 3.11 and its venv module for that, and
# takes nothing from anywhere but the package index.
new_enough='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

has_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c "$new_enough" 2>/dev/null; then return 0; fi
    done
    return 1
}

# The newest that the distribution has; 0 if it has one.
install_newest() {
    for version in 3.13 3.12 3.11; do
        if "$@" "$version"; then return 0; fi
    done
    return 1
}

dnf_python() { dnf install -y -q "python$1" && has_python; }

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"; }

apt_python() { apt_get install --no-install-recommends "python$1" "python$1-venv" && has_python; }

if [ "$BAKED" = no ] && ! has_python; then
    begin 'installing Python'
    if command -v dnf >/dev/null 2>&1; then
        install_newest dnf_python || die 'dnf offers no Python 3.11 or newer: use an image that has one'
    elif command -v apt-get >/dev/null 2>&1; then
        apt_get update
        # uv is installed with the distribution's own Python, jobs run on the newest.
        apt_get install --no-install-recommends python3 python3-venv ca-certificates
        has_python || install_newest apt_python || die 'apt offers no Python 3.11 or newer: use an image that has one'
    else
        die 'this image has no Python 3.11 or newer, and neither dnf nor apt-get to install one'
    fi
fi

if [ -n "$BAKE_FOR" ]; then
    begin "making ready for $BAKE_FOR"
    eval "$ENVIRONMENT"
    "$agent" internal-prepare "$BAKE_FOR" "$state"
    begin 'leaving nothing of this machine'
    if has_systemd; then systemctl disable --quiet data-runner-deadline.service; fi
    rm -rf "$units/data-runner-deadline.service" "$config" "$secrets" "$journal"
    sync
    say "baked $BAKE_CONTENT"
    sleep "$GRACE"
    sh -c "$POWER_OFF"
    exit 0
fi

begin 'writing the configuration of the agent'
printf '%s' "$TOKEN" >"$secrets/join-token"
cat >"$config/agent.sh" <<END
#!/bin/sh
# The agent of this machine, as its supervisor wants it.
umask 022
# systemd gives root none, and what DuckDB installed is there.
export HOME='$HOME'
$ENVIRONMENT
exec $agent
END

if [ -n "$BUNDLE" ]; then
    begin 'unpacking the code'
    mkdir -p "$state/bundles"
    printf '%s' "$BUNDLE" | base64 -d >"$state/bundles/$BUNDLE_SHA256.part"
    # The agent checks it again, and fetches it if it is not whole.
    mv -f "$state/bundles/$BUNDLE_SHA256.part" "$state/bundles/$BUNDLE_SHA256"
fi

begin 'starting the agent'
if has_systemd; then
    cat >"$units/data-runner-agent.service" <<END
[Unit]
Description=Data Runner: the agent of this machine
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/bin/sh $config/agent.sh
Restart=on-failure
RestartSec=2
# Jobs go on under their shims while the agent starts again.
KillMode=process
Delegate=yes
TasksMax=infinity
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
END
    enable_unit data-runner-agent.service
else
    output=$journal
    if (: >/dev/console) 2>/dev/null; then output=/dev/console; fi
    # shellcheck disable=SC2016 # expanded by the inner shell
    detach sh -c 'until sh "$1" >>"$2" 2>&1; do sleep 2; done' data-runner-agent "$config/agent.sh" "$output"
fi
say "the agent of worker $WORKER was started"
