#!/bin/bash -eu
# What there is to do is with the targets, and the same for ClusterFuzzLite.
exec "$SRC/migcert/.clusterfuzzlite/build.sh"
