#!/usr/bin/python3
"""Powers a machine of the test cloud off, by any of the usual names and with any arguments."""

import ctypes
import os
import sys

if not os.path.exists("/sbin/machine-init") or os.path.exists("/run/systemd/system"):
    sys.exit("this is no machine of the test cloud")
os.sync()
# In a process namespace of its own this ends its first process, and all others with it.
ctypes.CDLL(None).reboot(0x4321FEDC)
sys.exit("the machine does not power off")
