#!/bin/sh
# The clock of a machine of the test cloud, which a test can put ahead.
[ -e /clock-ahead ] || exec /bin/date "$@"
exec /bin/date --date "+$(cat /clock-ahead) seconds" "$@"
