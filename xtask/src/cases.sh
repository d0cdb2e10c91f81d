# SPDX-License-Identifier: MIT OR Apache-2.0
# Cases of a script, which begins a scenario first: every line "ok   ..." or "FAIL ..." is one.
ok() {
    echo "ok   $scenario: $1"
}

fail() {
    echo "FAIL $scenario: $1"
}

# expect WHAT COMMAND...: the command succeeds.
expect() {
    what=$1
    shift
    if said=$("$@" 2>&1); then ok "$what"; else fail "$what: $* says: $said"; fi
}

# refused WHAT WORDS COMMAND...: it fails, and says these words.
refused() {
    what=$1 words=$2
    shift 2
    if said=$("$@" 2>&1); then
        fail "$what: $* succeeded"
    else
        case $said in
        *"$words"*) ok "$what" ;;
        *) fail "$what: $* says: $said" ;;
        esac
    fi
}
