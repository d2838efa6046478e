#!/usr/bin/env bash
# Plants each bug of spool/src/planted.rs in turn and shows that the test named beside it catches it; without a bug
# all of them pass. Takes a minute after the build.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A caught_by=(
    [acknowledge-before-sync]=power::what_was_acknowledged_survives_every_power_cut
    [retry-fsync]=power::what_was_acknowledged_survives_every_power_cut
    [no-directory-sync]=power::what_was_acknowledged_survives_every_power_cut
    [no-crc]=bytes::a_flipped_bit_costs_one_record_and_never_a_wrong_one
)

run() {
    STAFFETTA_PLANT="$1" RUST_BACKTRACE=0 cargo test -q -p spool --features planted-bugs --test behaviour -- --exact "$2" 2>&1
}

for test in "${caught_by[@]}"; do
    run "" "$test" >/dev/null || { echo "FAIL $test fails without any bug"; exit 1; }
done
for bug in "${!caught_by[@]}"; do
    test=${caught_by[$bug]}
    if report=$(run "$bug" "$test"); then
        echo "FAIL $bug is not caught by $test"
        exit 1
    fi
    echo "ok   $bug is caught by $test: $(grep -m1 -A1 "panicked at" <<<"$report" | tail -n1 | cut -c -100)"
done
