#!/bin/bash -eu
# Builds every fuzz target as ClusterFuzzLite and OSS-Fuzz want it: in $OUT, each with its seeds, its
# options and its dictionary. `scripts/try-oss-fuzz` tries that without their images.

if test "$FUZZING_ENGINE" != libfuzzer; then
    echo "fuzzing engine $FUZZING_ENGINE: only libfuzzer is known here" >&2
    exit 1
fi
case "$SANITIZER" in
    # What cargo fuzz does anyway; for coverage, their cargo does the rest.
    address | coverage) sanitizer=() ;;
    *) sanitizer=(--sanitizer "$SANITIZER") ;;
esac

cd "$SRC/migcert"
host=$(rustc -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-target}/$host/release

for seeds in corpus/seeds/*; do
    target=$(basename "$seeds")
    cargo fuzz build "${sanitizer[@]}" "$target"
    cp "$built/$target" "$OUT/$target"
    python3 -m zipfile -c "$OUT/${target}_seed_corpus.zip" "$seeds"/*
    {
        printf '[libfuzzer]\ntimeout = 20\nrss_limit_mb = 4096\n'
        # `-name=value` is `name = value` there, and a dictionary lies beside its target.
        scripts/fuzz --options "$target" | tr ' ' '\n' | sed 's/^-//; s/=/ = /; s|fuzz/dictionaries/||'
    } >"$OUT/$target.options"
    test ! -f "fuzz/dictionaries/$target.dict" || cp "fuzz/dictionaries/$target.dict" "$OUT/"
done
