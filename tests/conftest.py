"""What all tests share: one thread for libraries. Threads that spin on a busy machine slow tiny networks most."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch; runs of the harness pin their own
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the core to others
